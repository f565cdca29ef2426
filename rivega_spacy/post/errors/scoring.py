"""Scoring."""

from .messages import Messages


class ScoringMessages(Messages):
    """Scoring."""

    E064 = "{path}, line {line} is left out: {reason}."
    E066 = (
        "The texts of {count} posts differ between predictions and gold in more than blanks ({names}); their entities are compared at the "
        "places given, which may mean other words."
    )
    W090 = (
        "{count} of {posts} predicted posts have lost the picture that their reference has: spaCy's own `evaluate`, `apply` and Corpus keep the "
        "text alone. Use `rivega evaluate`, `rivega annotate` and the reader `rivega.Corpus.v1`."
    )
    E510 = "`{option}` cannot be {value!r}. Use one of: {known}."
    E511 = "An IoU threshold lies between 0 and 1, not at {value!r}."
    E512 = (
        "Rule `offset` compares places in the text, but the predictions give {predicted} offsets and the gold data {gold} "
        "offsets. Use `--rule text`, or write both in the same form."
    )
    E513 = "{path}, line {line}: {reason}. Known forms are described under `rivega score --help`."
    E514 = "{path} holds nothing to score. Is it the right file?"
    E515 = "None of the {count} posts of the predictions {predicted} is in the gold data {gold}. Do both use the same post ids?"
    E516 = "The two runs were not scored on the same posts ({first} and {second}); a paired test needs the same ones."
    E517 = (
        "No component of the pipeline assigns {assigned}, so there is nowhere to put {option}. Leave it out, or add the component."
    )
    E552 = (
        "{path} has predictions for {found} posts, the gold data has {posts} posts. The file has no ids, so it must be of the same posts in "
        "the same order."
    )


__all__ = ["ScoringMessages"]
