"""Jobs over files: enrichment, evaluation, finishing of pipelines."""

from .messages import Messages


class JobsMessages(Messages):
    """Jobs over files: enrichment, evaluation, finishing of pipelines."""

    E268 = "{path} has {size} MB, more than {most} MB: {sizes}. Leave out what the pipeline does not need."
    E269 = "{path} holds a pickle, which could run code when it is read. Save weights as safetensors or msgpack."
    E426 = "There is no source {name!r}. Use one of: {known}."
    E427 = "{path}: `[{section}]` is missing or wrong ({reason}). See configs/enrich_openai.cfg."
    E428 = "Post {post}: `tokens` and `tags` do not fit together, so it has no entities to expand. Give every token a tag."
    E444 = (
        "Post {post}: the tag {tag!r} belongs to no known scheme (O, B-PER, I-PER, E-PER, S-PER, ...) and is read as O. Correct it."
    )
    E539 = (
        "Post {post} has no answers of {name!r}, only {known}. Enrich the posts with that model, or name another with `--source`."
    )
    E832 = "There are no posts to measure with. Give a file of posts: `rivega benchmark PIPELINE POSTS`."
    E840 = (
        "Post {post}: it cannot be part of a job ({reason}). Give it values that JSON has: text, numbers, lists, true, false, null."
    )
    E841 = "Post {post} could not be annotated: {reason}. It was tried three times, the last time alone. Check its picture, or leave it out."
    E842 = (
        "{folder} already holds a job with {posts} posts done. Use `--resume` to continue it, or `--restart` to discard its results "
        "and start again."
    )
    E843 = (
        "{folder}: the job there was started with other settings: {differences}. Use those, write to another folder, or start again "
        "with `--restart`."
    )
    E844 = "{path} is not a manifest that this version can read ({reason}). Restore it, or start again with `--restart`."
    E845 = (
        "{count} worker processes in a row died before they started ({reason}). Give them more memory, or use fewer with `--workers`, "
        "and look at their messages on stderr."
    )
    E846 = (
        "{folder}: the input is not the one with which the job there was started: its posts {start} to {end} have changed or are missing. "
        "New posts may only be added at the end. Restore the input, or start again with `--restart`."
    )
    E847 = "{folder} contains files but is not a job folder ({file}, for example). Name a new or an empty one."
    E848 = "Another process is working on the job in {folder}. Wait for it, or stop it."
    E851 = "`--engine ray` needs Ray ({reason}). Install it: pip install 'rivega_spacy[cluster]'."
    E853 = "The Ray cluster at {address} cannot be used: {reason}. Start one (`ray start --head`), give its address, or ask for less per worker."
    E863 = "No box of {path} covers any gold box of {data}. Check that both are of the same posts (by their ids) and pictures (same size)."
    E864 = (
        "{path} cannot be read as a detector ({reason}). Give a folder or hub name of an object detector in transformers' format (DETR, "
        "RT-DETR, YOLOS, Deformable DETR, ...)."
    )
    E910 = "There is no {value!r}. Use one of: {known}."
    E911 = (
        "{names} is not on this machine and was not downloaded ({reason}). Call again with --yes, set RIVEGA_HUB=1, or give a folder: "
        "--grounder OWLv2=FOLDER."
    )
    E912 = "{path} is no record of an assembled pipeline ({reason}). Name the open_models.json in its folder."
    E930 = "There is no part {part!r} to train. Use one or several of: {known}."
    E931 = "{path} is not empty. Name a new folder, or replace what an earlier call left there with `--force`."
    E932 = "{path} leaves {train} posts to train on and {dev} to measure on. Annotate more, or name others to measure on: `--dev`."
    E933 = (
        "The posts have entity types that this pipeline's tagger does not have: {types}; it has {known}. Rename them (`rivega convert` and "
        "docs/training.md say how), or train a new tagger with your types: `rivega init-config tagger.cfg --part tagger`."
    )
    E934 = (
        "{path} has no {missing}, so its {part} cannot be trained further. Start from a pipeline that has it, or leave {part} out."
    )
    E935 = "Training the {part} failed ({reason}). Look at its config and posts, or leave {part} out."


__all__ = ["JobsMessages"]
