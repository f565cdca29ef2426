"""Scoring."""

from .messages import Messages


class ScoringMessages(Messages):
    """Scoring."""

    E064 = "{path}, line {line} is left out: {reason}. Correct the line."
    E066 = (
        "The texts of {count} posts differ between predictions and gold in more than blanks ({names}), so the same offsets may "
        "mean other words. Use the same texts, or compare with `--rule text`."
    )
    W090 = (
        "{count} of {posts} predicted posts have lost the picture that their reference has: spaCy's own `evaluate`, `apply` "
        "and Corpus keep only the text. Use `rivega evaluate`, `rivega annotate` and the reader `rivega.Corpus.v1`."
    )
    E511 = "An IoU threshold must be between 0 and 1, not {value!r}. Give one that is."
    E512 = (
        "Rule `offset` compares places in the text, but the predictions have {predicted} offsets and the gold data {gold} "
        "offsets. Use `--rule text`, or write both in the same format."
    )
    E513 = "{path}, line {line}: {reason}. See `rivega score --help` for the known formats."
    E514 = "{path} has nothing to score. Check that it is the right file."
    E515 = "None of the {count} posts of the predictions {predicted} is in the gold data {gold}. Use the same post ids in both."
    E516 = (
        "The two runs were not scored on the same posts ({first} and {second}). Score both on the same ones: a paired test "
        "needs that."
    )
    E517 = "No component of the pipeline assigns {assigned}, so {option} has no effect. Leave it out, or add the component."
    E552 = (
        "{path} has predictions for {found} posts, but the gold data has {posts} posts. Give predictions of the same posts in "
        "the same order: the file has no ids."
    )
    E743 = (
        "No threshold can be fitted: of {count} judged entities with gold answers, {shown} are shown, and both answers must "
        "occur. Give annotated dev posts with their pictures (`--images`)."
    )
    E861 = "There are {first} runs of one system and {second} of the other. Give as many `--against` as `--predictions`: runs are paired in order."


__all__ = ["ScoringMessages"]
