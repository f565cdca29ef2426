"""Training: photographs, masks, checkpoints."""

from .messages import Messages


class TrainingMessages(Messages):
    """Training: photographs, masks, checkpoints."""

    E202 = "There is no split {split!r} of the photographs. Use one of: {splits}."
    E203 = (
        "There are no annotated photographs in {folder}. Give the folder whose subfolders have names that begin with voc, ccp "
        "or coco, each with annotations.jsonl and images/."
    )
    E260 = (
        "The training state in {folder} belongs to the networks {found}, but this pipeline trains {own}. Give another folder "
        "for checkpoints."
    )
    E261 = (
        "The training in {folder} is finished: {done} steps of {total}. Use its `model-last`, raise the number of steps, or "
        "give another folder."
    )
    E263 = (
        "`depths` is {depths}, but the network has {before} blocks in its stages, and blocks can only be added. Give at least "
        "as many for each stage."
    )
    E265 = "The pipelines have no networks in common: {networks}. Give runs of one config."
    E266 = "{name}: {weight} is not the same in all pipelines. Give runs of one config and one start."
    E267 = "{path} has {scheme} tags, not bio. Give a pipeline whose rivega_ner has BIO tags."
    E310 = "The photo annotations {path} do not exist. Give the folder that holds the sources, for example `--paths.photos`."
    E311 = "{path}, line {line}: not a photo annotation ({reason}). Give each line id, file, w, h and objects."
    E312 = "No mask of {sources} under {path} passes the filters of the reader. Check `remainders`, `classes` and `min_side`."
    E352 = "{folder} has views of other photographs, or views made with other settings. Give another folder, or empty it."
    E866 = "{path} has no `rivega_ner`, only {names}. Give a pipeline of `transformer` and `rivega_ner`."
    E867 = 'The tagger of {path} is `{architecture}`; only the tags of `rivega.CRFTagger.v1` can be changed. Train it with `scheme = "bioes"` instead.'


__all__ = ["TrainingMessages"]
