"""Corpora and published formats."""

from .messages import Messages


class CorpusMessages(Messages):
    """Corpora and published formats."""

    E059 = "{path} cannot be read ({reason}). It is damaged or was written by something else."
    E110 = "{path}, line {line}: not a JSON object ({reason})."
    E111 = "Post {post} ({path}, line {line}): {reason}. Every post needs `tokens` and as many `tags`."
    E112 = "There are no posts to read at {path}. Convert them first: `rivega convert POSTS.jsonl.gz POSTS.spacy`."
    E113 = "`knowledge` must be one of {known}, not {value!r}."
    E114 = "{path}, line {line}: every line needs `id` and `knowledge` (a string)."
    W115 = (
        'None of the {count} posts in {path} has knowledge. If that is meant, read them with `knowledge = "absent"`; if not, convert '
        "them again with `rivega convert`."
    )
    E130 = "Strict reading stops here: {what}: {where}. Mend the file, or read without `--strict` to have it counted and left as it is."
    E131 = "The folder {folder} holds no {kind} files."
    E132 = "{path} is not {kind} ({reason})."
    E133 = "There is no text format {form!r}. Known are: {known}."
    E134 = "{path} is no file of regions: give a folder of VOC XML or labelme JSON, a COCO .json or a Prodigy .jsonl."
    E150 = "`filter` must be one of {known}, not {value!r}."
    E151 = "`buffer` is {value}; it must be 0 or more, and says how many posts `shuffle = true` holds at a time: set both, or leave it out."
    E393 = "`rivega.JoinedCorpus.v1` cannot use the shares {shares}; it has the corpora {known}. A share is 0 or more and belongs to one of the `corpora`."
    E440 = (
        "{path} has {count} columns, and several hold entity tags: column {columns}. Choose one with `--tag-column` (from 1, or from the "
        "end as -1)."
    )
    E441 = (
        "{path} has {count} columns, and none of them holds entity tags (O, B-PER, I-PER, ...). Choose one with `--tag-column` (from 1, or "
        "from the end as -1), or name the form with `--format`."
    )
    E442 = "There is no tag column {column} in {path}, whose lines have {count} columns. They are counted from 1, or from the end as -1."
    E443 = "`--tag-column` is for CoNLL text; {path} is read as {form}, where nothing would come of it. Leave it out."


__all__ = ["CorpusMessages"]
