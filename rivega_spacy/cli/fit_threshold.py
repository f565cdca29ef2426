"""`rivega fit-threshold MODEL DEV.spacy`: from which score on the entailment component takes an entity as shown."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .options import GoldCorpus, GpuId, Images, Limit, ModelArgument
from .saying import say

EXAMPLES = (
    "rivega fit-threshold training/rivega_twitter corpus/dev.spacy",
    "rivega fit-threshold training/rivega_twitter corpus/dev.spacy --measure f1 --output training/rivega_fitted",
)
MORE_HELP = "Fit on dev posts, never on test posts."


def run(
    model: ModelArgument,
    corpus: GoldCorpus,
    output: Annotated[
        Path | None, typer.Option("--output", help="Save the pipeline there; without it the threshold is only shown.")
    ] = None,
    component: Annotated[str, typer.Option("--component", help="Name of the component.")] = "rivega_entailment",
    measure: Annotated[Literal["accuracy", "f1"], typer.Option("--measure", help="Measure to maximise.")] = "accuracy",
    images: Images = None,
    limit: Limit = 0,
    gpu_id: GpuId = -1,
) -> int:
    """Fit, show, save. RETURNS (int): 0."""
    from ..corpus.docbin import docbin_files, read_docbin
    from ..pipes.loading import load_pipeline
    from ..pipes.settings import configure
    from ..post.errors import Errors, RivegaError
    from ..post.files import check_output_folder, open_output_folder
    from ..scoring.thresholds import dev_scores, expanded, fit_threshold

    docbin_files(corpus)  # says at once if there is nothing to read
    if output is not None:
        check_output_folder(output, inputs=[model])
    nlp = load_pipeline(model, gpu_id=gpu_id)
    if component not in nlp.pipe_names:
        raise RivegaError(Errors.E742.format(model=model, component=component, names=", ".join(nlp.pipe_names)))
    pipe: Any = nlp.get_pipe(component)
    docs = expanded(nlp, read_docbin(corpus, nlp.vocab, images=images, limit=limit), component)
    scores, shown = dev_scores(pipe, docs)
    fitted = fit_threshold(scores, shown, measure=measure, before=pipe.cfg["threshold"])
    say(
        f"{fitted.count} entities: {measure} {100 * fitted.before:.2f} at {pipe.cfg['threshold']:.4g}, "
        f"{100 * fitted.value:.2f} at {fitted.threshold:.4g}\n"
    )
    if output is not None:
        configure(nlp, component, threshold=fitted.threshold)
        with open_output_folder(output) as folder:
            nlp.to_disk(folder)
        say(f"saved to {output}\n")
    return 0
