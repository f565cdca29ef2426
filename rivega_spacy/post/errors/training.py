"""Training: photographs, masks, checkpoints."""

from .messages import Messages


class TrainingMessages(Messages):
    """Training: photographs, masks, checkpoints."""

    E202 = "There is no split {split!r} of the photographs. Use one of: {splits}."
    E203 = (
        "No annotated photographs under {folder}. It must hold folders whose names begin with voc, ccp or coco, each with "
        "annotations.jsonl and images/; give the folder that holds them."
    )
    E260 = "The training state in {folder} belongs to the networks {found}, this pipeline trains {own}. Give another folder for checkpoints."
    E261 = "The training in {folder} has come to its end: {done} steps of {total}. Take `model-last` of it, raise the number of steps, or give another folder."
    E263 = "`depths` is {depths}, but the network has {before} blocks in its stages, and blocks can only be added. Give as many or more for each stage."
    E310 = "The photo annotations {path} do not exist. Give the folder that holds the sources, for example `--paths.photos`."
    E311 = "{path}, line {line}: not a photo annotation ({reason}). Each line needs id, file, w, h and objects."
    E312 = "No mask of {sources} under {path} passes the filters of the reader. Check `remainders`, `classes` and `min_side`."
    E352 = "{folder} holds views of other photographs, or made with other settings. Give another folder, or empty it."


__all__ = ["TrainingMessages"]
