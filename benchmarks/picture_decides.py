"""Posts whose text cannot say what kind of thing a name is, and whose picture can: does a tagger that looks at the picture know?

    rivega data unpack-photos PHOTO_ARCHIVES corpus/photos
    python benchmarks/picture_decides.py make --photos corpus/photos --output corpus/decides
    spacy train configs/ner_multimodal.cfg --paths.train corpus/decides/train.spacy --paths.dev corpus/decides/dev.spacy \
        --training.optimizer.learn_rate.total_steps 400 --output training/decides_picture
    spacy train configs/ner_minilm.cfg --paths.dev_knowledge absent (and the same options) --output training/decides_text
    python benchmarks/picture_decides.py score corpus/decides/test.spacy training/decides_picture/model-best training/decides_text/model-best

"First glimpse of Madison" is about a person, a town, a brand or a boat: the names are ones that all four have, the sentences ones that suit
all four, and both are drawn alike for every type. Test photographs are the held-out ones (ids divisible by five), test names and sentences
others than those of training. A text-only tagger can do no better than to guess the type that training had most often.
"""

import argparse
import random
from collections import Counter
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc, DocBin, Span

from rivega_spacy.backends.small.phrases.bank import load_bank
from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.corpus.posts_jsonl import read_json_lines
from rivega_spacy.post.boxes import box_area

# Each the name of persons, places, companies and ships, or fit to be.
NAMES = {
    "train": [
        "Madison",
        "Jordan",
        "Lincoln",
        "Chelsea",
        "Phoenix",
        "Sydney",
        "Florence",
        "Georgia",
        "Carter",
        "Dakota",
        "Savannah",
        "Israel",
        "Kingston",
        "Orlando",
        "Brooklyn",
        "Camden",
        "Paris",
        "Chester",
        "Preston",
        "Bentley",
        "Ford",
        "Morgan",
        "Chase",
        "Wells",
        "Dell",
        "Hershey",
        "Kellogg",
        "Mercedes",
        "Lexus",
        "Royce",
        "Aurora",
        "Luna",
        "Atlas",
        "Titan",
        "Juno",
        "Vesta",
        "Orion",
        "Nova",
    ],
    "test": [
        "Austin",
        "Victoria",
        "Carolina",
        "Raleigh",
        "Houston",
        "Verona",
        "Sienna",
        "Harper",
        "Tesla",
        "Wesson",
        "Apollo",
        "Iris",
        "Vega",
        "Selene",
        "Hudson",
        "Denver",
    ],
}
SENTENCES = {
    "train": [
        "Look at {n} !",
        "{n} this morning",
        "First glimpse of {n} today",
        "Can't get enough of {n} #nofilter",
        "So this is {n} ...",
        "{n} again , and I am happy",
        "RT @{h} : {n} in the sun",
        "One more of {n} for you",
        "What do you think of {n} ?",
        "Missing {n} already",
        "Everybody talks about {n} now",
        "My view right now : {n} https://t.co/{h}",
    ],
    "test": [
        "Say hello to {n}",
        "Guess who I saw : {n} !",
        "{n} , as promised",
        "Never seen {n} like this @{h}",
        "Here it comes , {n} https://t.co/{h}",
        "All eyes on {n}",
    ],
}
LARGE = 0.12  # of the picture's area: what the post is about
MOST = {"train": 450, "dev": 80, "test": 150}  # of one type
THINGS = {"dog", "cat", "horse", "car", "aeroplane", "boat", "bird", "motorbike", "train", "bus"}


def subject(row: dict[str, Any], source: str, labels: dict[str, str]) -> str:
    """The type that a name in a post with this photograph has; "" where a person could doubt it.

    row (Dict): A line of annotations.jsonl. source (str): Its set. labels (Dict[str, str]): Type of each kind of thing.
    """
    if source in ("flickrlogos27", "shop_signs"):
        return "ORG"
    if source in ("human290", "ccp_pixel"):
        return "PER"
    if source == "camvid_streets":
        return "LOC"
    sizes: Counter[str] = Counter()
    for item in row["objects"]:
        sizes[item["class"]] += box_area(item["bbox"]) / (row["w"] * row["h"])
    if not sizes:
        return ""
    kind, size = sizes.most_common(1)[0]
    if size < LARGE or (kind != "person" and "person" in sizes):
        return ""
    if kind == "person":
        return "PER"
    return "OTHER" if kind in THINGS else ("LOC" if labels.get(kind) == "LOC" else "")


def part_of(number: int) -> str:
    """Which part a photograph belongs to, by its id."""
    return {0: "test", 1: "dev"}.get(number % 5, "train")


def make(photos: Path, output: Path, seed: int = 0) -> None:
    """Write train.spacy, dev.spacy and test.spacy."""
    labels = {name: kind.label for name, kind in load_bank().open.items()}
    rng = random.Random(seed)
    found: dict[tuple[str, str], list[str]] = {}
    for file in sorted(photos.glob("*/annotations.jsonl")):
        for _, row in read_json_lines(file):
            label = subject(row, file.parent.name, labels)
            if label:
                found.setdefault((part_of(int(row["id"])), label), []).append(str((file.parent / row["file"]).resolve()))
    nlp = spacy.blank("rivega")
    for part in ("train", "dev", "test"):
        words = "test" if part == "test" else "train"
        docs = []
        for label in ("PER", "LOC", "ORG", "OTHER"):
            pictures = found[part, label]
            rng.shuffle(pictures)
            # A type with few photographs shows them again, in other posts; in the test each once.
            count = MOST[part] if part != "test" else min(MOST[part], len(pictures))
            for number in range(count):
                docs.append(_post(nlp, rng, pictures[number % len(pictures)], label, NAMES[words], SENTENCES[words]))
        rng.shuffle(docs)
        write_docbin(docs, output / f"{part}.spacy")
        print(part, dict(Counter(ent.label_ for doc in docs for ent in doc.ents)))


def _post(nlp: Any, rng: random.Random, picture: str, label: str, names: list[str], sentences: list[str]) -> Doc:
    code = "".join(rng.choice("abcdefghjkmnpqrstuvwxyz0123456789") for _ in range(8))
    name = rng.choice(names)
    text = rng.choice(sentences).replace("{h}", code)
    start = text.index("{n}")
    doc = nlp.make_doc(text.replace("{n}", name))
    doc._.image = picture
    span = doc.char_span(start, start + len(name), label=label)
    doc.set_ents([span], default="outside")
    return doc


def score(test: Path, models: list[str]) -> None:
    """Print entity F1 and the share of right types among spans that are found, with the pictures, without and with others'."""
    for model in models:
        nlp = spacy.load(model)
        gold = list(DocBin().from_disk(test).get_docs(nlp.vocab))
        pictures = [doc._.image for doc in gold]
        turned = pictures[len(pictures) // 2 :] + pictures[: len(pictures) // 2]
        for name, given in (("own picture", pictures), ("no picture", [None] * len(gold)), ("another's picture", turned)):
            docs = []
            for doc, image in zip(gold, given):
                copy = Doc(nlp.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])
                copy._.image = image
                docs.append(copy)
            _report(f"{model}, {name}", gold, list(nlp.pipe(docs, batch_size=64)))


def _report(name: str, gold: list[Doc], found: list[Doc]) -> None:
    right = wanted = told = spans = 0
    by_type: dict[str, list[int]] = {}
    for one, other in zip(gold, found):
        mine: dict[tuple[int, int], Span] = {(ent.start, ent.end): ent for ent in other.ents}
        told += len(other.ents)
        for ent in one.ents:
            wanted += 1
            match = mine.get((ent.start, ent.end))
            hit = match is not None and match.label_ == ent.label_
            spans += match is not None
            right += hit
            by_type.setdefault(ent.label_, []).append(int(hit))
    f1 = 200 * right / (wanted + told)
    types = ", ".join(f"{label} {100 * sum(hits) / len(hits):.1f} of {len(hits)}" for label, hits in sorted(by_type.items()))
    print(
        f"{name}: F1 {f1:.1f}, spans found {100 * spans / wanted:.1f}, types right of those {100 * right / max(spans, 1):.1f} ({types})"
    )


def main() -> None:
    """`make` or `score`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("--photos", type=Path, required=True, help="folder of the unpacked photograph archives")
    making.add_argument("--output", type=Path, required=True)
    scoring = commands.add_parser("score")
    scoring.add_argument("test", type=Path)
    scoring.add_argument("models", nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments.photos, arguments.output)
    else:
        score(arguments.test, arguments.models)


if __name__ == "__main__":
    main()
