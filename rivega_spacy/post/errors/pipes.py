"""Components in general: settings, loading, what is asked of a network."""

from .messages import Messages


class PipesMessages(Messages):
    """Components in general: settings, loading, what is asked of a network."""

    E021 = (
        "The {name} weights cannot be read: {reason}. The file is damaged or was written by another program: download or train "
        "it again."
    )
    E057 = "The GPU {gpu_id} cannot be used ({reason}). Install CuPy and PyTorch for your version of CUDA, or leave `--gpu-id` out."
    E058 = (
        "The pipeline {model!r} cannot be loaded ({reason}). Its files are damaged or incomplete, or a package that it needs "
        "is missing: install it, or get the pipeline again."
    )
    E082 = "{name} has no setting {option!r} that can be changed at run time. Use one of: {known}."
    W083 = (
        "{name}: {options} will not be saved, because only the config is. Set it with "
        "`rivega_spacy.pipes.settings.configure(nlp, {name!r}, {options})`, or in the config."
    )
    W091 = (
        '{component}: no entity of the training posts has an expansion, so it learns from "Name (TYPE)" alone, but an expander '
        "in the pipeline would write more. Give the reader an expander (`[corpora.train.expander]`), or set `expression = "
        '"name"`.'
    )
    E205 = (
        "Post {post}: {component} failed on its picture ({reason}). Its entities keep the results of earlier components; check "
        "that other programs open the picture."
    )
    E206 = (
        "{component} cannot be trained: its architecture {model} has no training step. Choose one that has one, or freeze the "
        "component."
    )
    E207 = "{component}: the architecture {model} has no weights of its own, so {weights} cannot be loaded. Leave `weights` out."
    E208 = "`{option}` must be between 0 and 1, not {value!r}. Correct the config or the call."
    E262 = "{component} cannot learn from whole views: its architecture {model} has no `train_views`. Use `rivega.PhotoCorpus.v1`, or a `rivega.Small...` architecture."
    E264 = (
        "A network was asked about {value!r}, which is not an Expression. Make it an `Expression(name, type, expansion)` "
        "(rivega_spacy.post.expressions), or an `Expression(expansion=...)` if it is plain words."
    )
    E400 = "Post {post}: {model} gave no {what} ({reason}). Run again to ask once more; the post's other results stay."
    E401 = (
        "Post {post}: the answers of {model} for {what} were not usable ({reason}) and are left out. Try another model or prompt."
    )
    E500 = (
        "The pipeline {model!r} is neither installed nor a folder ({reason}). Install the one that ships with the project: "
        "`pip install ./assets/rivega_twitter`, or name another with `--model`."
    )
    E973 = (
        "{name!r} is nothing that a loaded pipeline is made of, so changing it has no effect. Change settings of [components], [nlp] or [paths], "
        "and spell them as the config does."
    )


__all__ = ["PipesMessages"]
