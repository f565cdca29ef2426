"""Does the recorded knowledge hold the gold labels? What z names, against what is annotated, and against texts that cannot hold them.

    python benchmarks/knowledge_audit.py POSTS

POSTS is the folder of the compact JSON lines (twitter_gmner_{train,dev,test}.jsonl.gz, twitter2017_*, annotated_examples.jsonl).
Four questions, each with a control:

1. How often does z name an entity exactly as annotated? Control: the caption, the description, and the knowledge of another post.
2. Read as a tagger, how good is the list of entities z begins with? Had its writer seen the gold tags, precision would be near 100.
3. Where annotators cut an entity unlike the way it is usually written, does z follow them? The same posts are annotated anew in
   Twitter-GMNER and in Twitter-2017: does z agree more with the annotation of "its" data set where the two differ?
4. Posts that were annotated by hand to serve as in-context examples: does their z agree better with gold, is it the annotation itself?

Prints Markdown.
"""

import argparse
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rivega_spacy.corpus.posts_jsonl import read_json_lines

Span = tuple[int, int]
# The list of entities ends where the reasoning begins; an item is "1. Name (kind)".
_ITEM = re.compile(r"(?:^|[\s:)\].;,])\d{1,2}\.\s*(.+?)\s*(?=\(|[\s)]\d{1,2}\.\s|$)")


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file."""
    return [row for _, row in read_json_lines(path)]


def gold_spans(tags: list[str]) -> set[Span]:
    """Token spans of BIO tags, without their types."""
    spans, begin = set(), None
    for place, tag in enumerate([*tags, "O"]):
        if begin is not None and tag[0] != "I":
            spans.add((begin, place))
            begin = None
        if tag[0] == "B" or (tag[0] == "I" and begin is None):
            begin = place
    return spans


def named(knowledge: str) -> list[str]:
    """The entities that z lists."""
    head = re.split(r"Reason(?:ing)?s?\s*:", knowledge)[0]
    head = re.sub(r"^\s*Named entit(?:y|ies)\s*:?", " ", head)
    return [item.strip(" .,;:\"'") for item in _ITEM.findall(head)]


def listed_spans(tokens: list[str], knowledge: str) -> set[Span]:
    """Where the names that z lists stand in the post, capitals aside; "#Name" and "@Name" also without their sign."""
    lower = [token.lower() for token in tokens]
    spans = set()
    for name in named(knowledge):
        squeezed = re.sub(r"\W", "", name.lower())
        if not squeezed:
            continue
        for begin in range(len(lower)):
            joined = ""
            for end in range(begin, min(len(lower), begin + 10)):
                joined += re.sub(r"\W", "", lower[end])
                if joined == squeezed and re.search(r"\w", lower[begin]):
                    spans.add((begin, end + 1))
                    break
                if not squeezed.startswith(joined):
                    break
    return spans


def holds(text: str, tokens: list[str], span: Span) -> bool:
    """Whether a text has the words of a span, blanks and capitals aside."""
    name = re.sub(r"\s", "", "".join(tokens[span[0] : span[1]])).lower()
    return bool(name) and name in re.sub(r"\s", "", text or "").lower()


def share(part: int, whole: int) -> str:
    """A share in percent."""
    return f"{100 * part / max(1, whole):.1f}"


def naming(posts: list[dict[str, Any]]) -> Iterator[str]:
    """Question 1."""
    shuffled = [post["knowledge"] for post in posts]
    random.Random(0).shuffle(shuffled)
    counts = dict.fromkeys(("z", "caption", "description", "z of another post"), 0)
    total = 0
    for post, other in zip(posts, shuffled):
        for span in gold_spans(post["tags"]):
            total += 1
            texts = (post["knowledge"], post["caption_blip2"], post["description_owl"], other)
            for kind, text in zip(counts, texts):
                counts[kind] += holds(text, post["tokens"], span)
    yield " | ".join(share(count, total) for count in counts.values())


def as_tagger(posts: list[dict[str, Any]]) -> tuple[int, int, int]:
    """Question 2: right, listed and gold spans, types aside."""
    right = listed = gold = 0
    for post in posts:
        found, wanted = listed_spans(post["tokens"], post["knowledge"]), gold_spans(post["tags"])
        right, listed, gold = right + len(found & wanted), listed + len(found), gold + len(wanted)
    return right, listed, gold


def prf(right: int, listed: int, gold: int) -> str:
    """Precision, recall and F1 as cells of a table."""
    return f"{share(right, listed)} | {share(right, gold)} | {share(2 * right, listed + gold)}"


def disputed(ours: list[dict[str, Any]], others: list[dict[str, Any]]) -> Iterator[str]:
    """Question 3: spans that only one of two annotations of the same words has, and how many of them each data set's z lists."""
    by_id = {post["id"]: post for post in others}
    counts = {("gmner", "gmner"): 0, ("gmner", "2017"): 0, ("2017", "gmner"): 0, ("2017", "2017"): 0}
    sizes = {"gmner": 0, "2017": 0}
    for post in ours:
        other = by_id.get(post["id"])
        if other is None or other["tokens"] != post["tokens"] or not other.get("knowledge"):
            continue
        a, b = gold_spans(post["tags"]), gold_spans(other["tags"])
        listed = {
            "gmner": listed_spans(post["tokens"], post["knowledge"]),
            "2017": listed_spans(post["tokens"], other["knowledge"]),
        }
        for owner, spans in (("gmner", a - b), ("2017", b - a)):
            sizes[owner] += len(spans)
            for writer, found in listed.items():
                counts[owner, writer] += len(spans & found)
    yield "| spans annotated only in | how many | listed by the z recorded for Twitter-GMNER | listed by the z recorded for Twitter-2017 |"
    yield "|---|---|---|---|"
    for owner, title in (("gmner", "Twitter-GMNER"), ("2017", "Twitter-2017")):
        yield f"| {title} | {sizes[owner]} | {share(counts[owner, 'gmner'], sizes[owner])} | {share(counts[owner, '2017'], sizes[owner])} |"


def main() -> None:
    """Print the audit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("posts", type=Path)
    folder = parser.parse_args().posts
    splits = {name: read(folder / f"twitter_gmner_{name}.jsonl.gz") for name in ("train", "dev", "test")}
    print("Gold entities whose words a text has, in percent:\n")
    print("| split | z | caption | description | z of another post |\n|---|---|---|---|---|")
    for name, posts in splits.items():
        for line in naming(posts):
            print(f"| {name} | {line} |")
    print("\nThe list in z read as a tagger, spans without types:\n")
    print("| posts | P | R | F1 |\n|---|---|---|---|")
    for name, posts in splits.items():
        print(f"| {name} | {prf(*as_tagger(posts))} |")
    shown = {str(row["id"]) for row in read(folder / "annotated_examples.jsonl")}
    everything = [post for posts in splits.values() for post in posts]
    for title, keep in (("annotated by hand as in-context examples", True), ("not annotated by hand", False)):
        posts = [post for post in everything if (str(post["id"]) in shown) is keep]
        print(f"| {len(posts)} posts {title} | {prf(*as_tagger(posts))} |")
    annotated = {str(row["id"]): row["annotation"] or "" for row in read(folder / "annotated_examples.jsonl")}
    copied = sum(
        post["knowledge"].strip()[:60] == annotated[str(post["id"])].strip()[:60]
        for post in everything
        if str(post["id"]) in annotated
    )
    same = sum(
        post["knowledge"].strip() == annotated[str(post["id"])].strip() for post in everything if str(post["id"]) in annotated
    )
    print(
        f"\nOf the posts annotated by hand {copied} have a z that begins like the annotation (first 60 characters); {same} are the annotation."
    )
    print("\nSpans on which two annotations of the same words differ:\n")
    others: list[dict[str, Any]] = []
    for name in ("train", "valid", "test"):
        knowledge = {row["id"]: row["knowledge"] for row in read(folder / f"twitter2017_{name}_knowledge.jsonl.gz")}
        others += [{**row, "knowledge": knowledge.get(row["id"])} for row in read(folder / f"twitter2017_{name}.jsonl.gz")]
    for line in disputed(everything, others):
        print(line)


if __name__ == "__main__":
    main()
