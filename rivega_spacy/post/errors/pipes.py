"""Components in general: settings, loading, what is asked of a network."""

from .messages import Messages


class PipesMessages(Messages):
    """Components in general: settings, loading, what is asked of a network."""

    E057 = "GPU {gpu_id} cannot be used ({reason}). Install CuPy and PyTorch for your CUDA, or leave `--gpu-id` out."
    E058 = "The pipeline {model!r} cannot be loaded ({reason}). Its files are damaged or incomplete, or a package that it needs is missing."
    E082 = "{name} has no setting {option!r} that can be changed at run time. It has: {known}."
    W083 = (
        "{name}: {options} is not saved, because only the config is. Set it with `rivega_spacy.pipes.settings.configure(nlp, {name!r}, {options})`, "
        "or in the config."
    )
    W091 = (
        '{component}: no entity of the training posts has an expansion, so it learns from "Name (TYPE)" alone, while an expander in the '
        'pipeline would write more. Give the reader one (`[corpora.train.expander]`), or set `expression = "name"`.'
    )
    E205 = (
        "Post {post}: {component} failed on its picture ({reason}). Its entities keep what they had; look whether other "
        "programs open the picture."
    )
    E206 = "{component} cannot be trained: its architecture {model} has no training step. Choose one that has, or freeze it."
    E207 = "{component}: the architecture {model} takes no weights file, so {weights} cannot be loaded. Leave `weights` out."
    E208 = "`{option}` must be between 0 and 1, not {value!r}."
    E262 = "{component} cannot learn from whole views: its architecture {model} has no `train_views`. Use `rivega.PhotoCorpus.v1`, or a `rivega.Small...` architecture."
    E400 = "Post {post}: {model} gave no {what} ({reason}). Run again to ask once more; its other results stand."
    E401 = "Post {post}: the answers of {model} for {what} were not usable ({reason}), so it is left out."
    E500 = (
        "The pipeline {model!r} is neither installed nor a folder ({reason}). Install the one that ships with the project: "
        "`pip install ./assets/rivega_twitter`, or name another with `--model`."
    )


__all__ = ["PipesMessages"]
