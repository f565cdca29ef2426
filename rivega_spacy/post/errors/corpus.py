"""Corpora and published formats."""

from .messages import Messages


class CorpusMessages(Messages):
    """Corpora and published formats."""

    E110 = "{path}, line {line}: not a JSON object ({reason}). Write one JSON object per line."
    E111 = "Post {post} ({path}, line {line}): {reason}. Give every post `tokens` and as many `tags`."
    E112 = "There are no posts to read at {path}. Convert them first: `rivega convert POSTS.jsonl.gz POSTS.spacy`."
    E114 = "{path}, line {line}: `id` or `knowledge` (a string) is missing. Give both on every line."
    W115 = (
        'None of the {count} posts in {path} has knowledge. If that is intended, read them with `knowledge = "absent"`; if '
        "not, convert them again with `rivega convert`."
    )
    E130 = (
        "Strict reading stops here: {what}: {where}. Fix the file, or read without `--strict` to have it counted and left as it is."
    )
    E131 = "The folder {folder} has no {kind} files. Give the folder that has them."
    E132 = "{path} is not {kind} ({reason}). Give another file, or export it again."
    E133 = "There is no text format {form!r}. Use one of: {known}."
    E134 = "{path} is not a file of regions. Give a folder of VOC XML or labelme JSON, a COCO .json or a Prodigy .jsonl."
    E151 = (
        "`buffer` is {value}, but it must be 0 or more. It is the number of posts held at a time with `shuffle = true`; without "
        "that, leave it out."
    )
    E393 = "`rivega.JoinedCorpus.v1` cannot use the shares {shares}. Give each of its corpora, {known}, a share of 0 or more."
    E440 = (
        "{path} has {count} columns, and several hold entity tags: column {columns}. Choose one with `--tag-column` (from 1, "
        "or from the end as -1)."
    )
    E441 = (
        "{path} has {count} columns, and none of them holds entity tags (O, B-PER, I-PER, ...). Choose one with `--tag-column` "
        "(from 1, or from the end as -1), or name the format with `--format`."
    )
    E442 = (
        "There is no tag column {column} in {path}, whose lines have {count} columns. Count columns from 1, or from the end as -1."
    )
    E443 = "`--tag-column` is for CoNLL text and has no effect on {path}, which is read as {form}. Leave it out."
    E510 = "`{option}` cannot be {value!r}. Use one of: {known}."
    W860 = (
        "None of the {count} entities read from {path} has an expansion, so training and evaluation on them ask only about "
        '"Name (TYPE)", while a pipeline with an expander asks about more. Add recorded expansions (`rivega convert --expansions`), or '
        "give the reader the pipeline's own expander (`[corpora.train.expander]`, `[corpora.dev.expander]`)."
    )


__all__ = ["CorpusMessages"]
