"""Posts made from held-out photographs: a benchmark of the whole path from text to mask.

    python benchmarks/photo_posts.py rivega_twitter --photos corpus/photos --output benchmarks/results/photo_posts.md

The pictures of the published data sets are handed out by their owners only; this stands in for them. Every photograph of the VOC
2007 test set and of Clothing Co-Parsing whose id is divisible by five (no part of the shipped pipeline has seen them) becomes one
post: names from photo_posts_names.json stand for annotated objects, others for what the picture does not show, in sentences from
photo_posts_templates.json. Both files were written for this benchmark and share no name with what the networks were trained on
(tests/scoring/test_photo_posts.py). The same seed makes the same posts.

Three sets are made: `boxes` (VOC photographs with an object that can be named without doubt; its box as gold), `masks` (CCP, and the
VOC photographs with instance masks; only objects with a mask are named, so that EES and SMNER have gold for everything) and, where the
further sets are there, `kinds` (animals, vehicles, landmarks, things, logos and signs of ECSSD, SOD, FlickrLogos-27 and Roboflow's road signs).
"""

import argparse
import hashlib
import json
import random
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span

from rivega_spacy.backends.small.phrases.bank import PhraseBank, load_bank
from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.corpus.posts_jsonl import read_json_lines
from rivega_spacy.post.boxes import box_area
from rivega_spacy.post.extensions import MASKS_KEY, move_image
from rivega_spacy.post.rle import rle_area

FOLDER = Path(__file__).parent
UNGROUNDABLE = 0.6  # of all entities, as in Twitter-GMNER (Table III of the paper)
WITHOUT_SHOWN = 0.2  # of the posts; fewer than in Twitter-GMNER (44 %), so that more posts have several entities
SMALLEST = 0.01  # of the picture's area: what is smaller nobody would name
GOOD_MASK = 0.8  # mask_box_iou from which a VOC mask counts as gold
GARMENTS = {
    "bag": "bag",
    "purse": "bag",
    "hat": "hat",
    "dress": "dress",
    "coat": "coat",
    "jeans": "jeans",
    "skirt": "skirt",
    "shoes": "shoes",
}
GARMENT_SHARE = 0.3  # of the CCP posts may name one garment; else the person alone
BAND = 3  # so many persons or more can carry the name of a band or team
ABSENT = {"person": "PER", "place": "LOC", "outlet": "ORG", "company": "ORG", "work": "OTHER", "event": "OTHER"}
ABSENT_THINGS = ("dog", "cat", "car", "bicycle", "aeroplane")
# Sights that are talked of and not shown: of the third set alone, whose photographs show sights too.
ABSENT_SIGHTS = {"sight": "LOC"}


class Thing(NamedTuple):
    """Something of a photograph that a name can stand for.

    kind (str): Key of the templates.
    label (str): Entity type.
    boxes (List[List[float]]), masks (List[Dict]): Gold, one for each instance; masks may be missing.
    word (str): What the thing is, for templates that say so.
    """

    kind: str
    label: str
    boxes: list[list[float]]
    masks: list[dict[str, Any]]
    word: str = ""


class Entity(NamedTuple):
    """A name in the text: start and end in characters, its label and kind, and what of the picture it stands for."""

    start: int
    end: int
    label: str
    kind: str
    thing: Thing | None


def photos(folder: Path, source: str) -> Iterator[dict[str, Any]]:
    """Held-out photographs of one data set, by id, with `image` relative to the folder."""
    rows = []
    # Of VOC the photographs of 2007 alone, whatever else lies in the folder.
    files = [file for file in folder.glob(f"{source}*/annotations.jsonl") if not file.parent.name.startswith("voc2012")]
    for file in sorted(files):
        for _, row in read_json_lines(file):
            if int(row["id"]) % 5 == 0:
                rows.append({**row, "image": f"{file.parent.name}/{row['file']}"})
    yield from sorted(rows, key=lambda row: row["id"])


def voc_things(row: dict[str, Any], names: dict[str, Any], *, masked: bool) -> list[Thing]:
    """What can be named in a VOC photograph without doubt about which object is meant.

    A class with one object; the one person that is twice as large as any other; three persons or more together as a band, each
    of them a right answer (the data set has up to 22 boxes for one name).
    """
    things = []
    classes: dict[str, list[dict[str, Any]]] = {}
    for item in row["objects"]:
        classes.setdefault(item["class"], []).append(item)
    limit = SMALLEST * row["w"] * row["h"]
    for kind, items in sorted(classes.items()):
        plain = sorted((item for item in items if not item["difficult"]), key=lambda item: -box_area(item["bbox"]))
        if not plain or (kind not in names and kind != "person"):
            continue
        sizes = [box_area(item["bbox"]) for item in sorted(items, key=lambda item: -box_area(item["bbox"]))]
        alone = len(items) == 1 or (kind == "person" and sizes[0] >= 2 * sizes[1] and box_area(plain[0]["bbox"]) == sizes[0])
        if alone and sizes[0] >= limit:
            things.append(_thing(kind, "PER" if kind == "person" else "OTHER", plain[:1]))
        elif kind == "person" and len(plain) >= BAND and len(plain) == len(items):
            things.append(_thing("band", "ORG", plain))
    return [thing for thing in things if not masked or len(thing.masks) == len(thing.boxes)]


def ccp_things(row: dict[str, Any]) -> list[Thing]:
    """The person of a CCP photograph, and garments that a label can be named for."""
    things, seen = [], set()
    for item in row["objects"]:
        kind = GARMENTS.get(item["class"], "person" if item["class"] == "person" else "")
        if kind and kind not in seen and box_area(item["bbox"]) >= SMALLEST * row["w"] * row["h"]:
            seen.add(kind)
            things.append(_thing(kind, "PER" if kind == "person" else "ORG", [item]))
    return things


def open_things(row: dict[str, Any], bank: PhraseBank) -> list[Thing]:
    """The one thing that a photograph of the further sets is about, where it is not a person; of logos all of the first brand."""
    classes = {item["class"] for item in row["objects"]}
    first = row["objects"][0]["class"] if row["objects"] else ""
    kind = bank.open.get(first)
    if kind is None or kind.person or (len(classes) > 1 and not first.endswith(" logo")):
        return []
    group = (
        "logo"
        if first.endswith(" logo")
        else "landmark"
        if kind.label == "LOC"
        else next((g for g in ("animal", "vehicle") if g in kind.parents), "thing")
    )
    items = [item for item in row["objects"] if item["class"] == first]
    if max(box_area(item["bbox"]) for item in items) < SMALLEST * row["w"] * row["h"]:
        return []
    return [_thing(group, kind.label, items)._replace(word=kind.names if group == "logo" else first)]


def _thing(kind: str, label: str, items: list[dict[str, Any]]) -> Thing:
    good = [item["segmentation"] for item in items if item.get("segmentation") and item.get("mask_box_iou", 1.0) >= GOOD_MASK]
    return Thing(kind, label, [[float(x) for x in item["bbox"]] for item in items], good)


class Writer:
    """Writes posts about photographs, keeping the share of entities that are not in the picture.

    seed (int): Of all choices.
    """

    def __init__(self, seed: int) -> None:
        self.names = json.loads((FOLDER / "photo_posts_names.json").read_text(encoding="utf8"))
        self.templates = json.loads((FOLDER / "photo_posts_templates.json").read_text(encoding="utf8"))
        self.random = random.Random(seed)
        self.shown = 0
        self.absent = 0

    def write(self, things: list[Thing], absent_things: list[str]) -> tuple[str, list[Entity]]:
        """One post.

        things (List[Thing]): What of the photograph may be named.
        absent_things (List[str]): Kinds of things that are certainly not in it.
        RETURNS (Tuple[str, List[Entity]]): Text, and its entities in order.
        """
        rng = self.random
        count = 0 if rng.random() < WITHOUT_SHOWN else rng.choice((1, 2, 2, 3))
        chosen = rng.sample(things, min(count, len(things)))
        wanted = (self.shown + len(chosen)) * UNGROUNDABLE / (1 - UNGROUNDABLE) - self.absent
        least = 0 if chosen else 1
        missing = max(least, min(3, round(wanted + rng.choice((-1, 0, 1)))))
        used: set = set()
        clauses = [self._clause("shown", thing.kind, thing.label, thing, used) for thing in chosen]
        for _ in range(missing):
            kind = rng.choice([*ABSENT, *ABSENT, *absent_things])
            clauses.append(self._clause("absent", kind, {**ABSENT, **ABSENT_SIGHTS}.get(kind, "OTHER"), None, used))
        rng.shuffle(clauses)
        self.shown += len(chosen)
        self.absent += missing
        return self._join(clauses)

    def pick_garment(self, things: list[Thing]) -> list[Thing]:
        """The person, and now and then one garment: a post that names every piece of clothing is no post."""
        garments = [thing for thing in things if thing.kind != "person"]
        chosen = [self.random.choice(garments)] if garments and self.random.random() < GARMENT_SHARE else []
        return [thing for thing in things if thing.kind == "person"] + chosen

    def _clause(self, part: str, kind: str, label: str, thing: Thing | None, used: set) -> tuple[str, int, str, Entity]:
        rng = self.random
        while True:
            if kind == "person":
                name = f"{rng.choice(self.names['first'])} {rng.choice(self.names['last'])}"
            elif kind == "logo" and thing is not None:
                name = thing.word
            elif kind == "landmark" and thing is not None:
                name = f"{rng.choice(self.names['landmark'])} {thing.word.title()}"
            else:
                name = rng.choice(self.names[kind if kind in self.names else "garment"])
            if name not in used:
                used.add(name)
                break
        template = rng.choice(self.templates[part][kind]).replace("{k}", thing.word if thing is not None else "")
        return template.replace("{n}", name), template.index("{n}"), name, Entity(0, len(name), label, kind, thing)

    def _join(self, clauses: list[tuple[str, int, str, Entity]]) -> tuple[str, list[Entity]]:
        rng = self.random
        text = self._fill(rng.choice(self.templates["start"]))
        entities = []
        for number, (clause, place, name, entity) in enumerate(clauses):
            if number:
                join = rng.choice(self.templates["join"])
                text += " " if text[-1] in "!?" else join
            start = len(text) + place
            if not text or text[-2:] in (". ", "! "):
                clause = clause[0].upper() + clause[1:]
            text += clause
            # A name that begins a sentence keeps its own case: all names begin with a capital.
            entities.append(entity._replace(start=start, end=start + len(name)))
        end = self._fill(rng.choice(self.templates["end"]))
        if text[-1] in "!?":
            end = end.lstrip(".!")
        return text + end, entities

    def _fill(self, template: str) -> str:
        letters = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789"
        code = "".join(self.random.choice(letters) for _ in range(10))
        return template.replace("{handle}", code[:7].lower()).replace("{code}", code)


def make_doc(nlp: Language, name: str, image: str, text: str, entities: Iterable[Entity]) -> Doc:
    """The gold post.

    RAISES (ValueError): Where a name does not begin and end at tokens (a template is at fault).
    """
    doc = nlp.make_doc(text)
    doc.user_data["id"] = name
    doc._.image = image
    spans: list[Span] = []
    kinds = []
    for entity in entities:
        span = doc.char_span(entity.start, entity.end, label=entity.label)
        if span is None:
            raise ValueError(f"{text!r}: {text[entity.start : entity.end]!r} is not whole tokens")
        span._.groundable = entity.thing is not None
        if entity.thing is not None:
            span._.boxes = entity.thing.boxes
            if entity.thing.masks:
                span._.mask_rle = max(entity.thing.masks, key=rle_area)
                doc.user_data[("._.", MASKS_KEY, span.start_char, span.end_char)] = entity.thing.masks
        spans.append(span)
        kinds.append([span.start_char, span.end_char, entity.kind])
    doc.set_ents(spans, default="outside")
    doc.user_data["kinds"] = kinds
    return doc


def make_posts(folder: Path, *, seed: int = 0) -> dict[str, list[Doc]]:
    """The sets.

    folder (Path): Folder of the extracted photograph archives (each with annotations.jsonl and images/).
    seed (int): Of all choices.
    RETURNS (Dict[str, List[Doc]]): "boxes", "masks" and perhaps "kinds"; images are paths relative to the folder.
    """
    nlp = spacy.blank("rivega")
    names = json.loads((FOLDER / "photo_posts_names.json").read_text(encoding="utf8"))
    sets: dict[str, list[Doc]] = {}
    for part in ("boxes", "masks"):
        writer, docs = Writer(seed), []
        for source in ("voc", "ccp") if part == "masks" else ("voc",):
            for row in photos(folder, source):
                if source == "voc":
                    things = voc_things(row, names, masked=part == "masks")
                    if not things:
                        continue
                    if part == "boxes":
                        # Few of these photographs have masks; half a gold standard would make EES and SMNER meaningless.
                        things = [thing._replace(masks=[]) for thing in things]
                    present = {item["class"] for item in row["objects"]}
                    absent = [kind for kind in ABSENT_THINGS if kind not in present]
                else:
                    # What stands in the street behind the person is not annotated.
                    things, absent = writer.pick_garment(ccp_things(row)), []
                text, entities = writer.write(things, absent)
                docs.append(make_doc(nlp, f"{source}-{row['id']}", row["image"], text, entities))
        sets[part] = docs
    bank, writer, docs = load_bank(), Writer(seed), []
    for source in ("ecssd", "sod_bsd", "flickrlogos27", "road_signs"):
        for row in photos(folder, source):
            things = open_things(row, bank)
            if things:
                absent = [kind for kind in ABSENT_THINGS if kind not in things[0].word]
                absent += [] if things[0].label == "LOC" else ABSENT_SIGHTS
                text, entities = writer.write(things, absent)
                docs.append(make_doc(nlp, f"{source}-{row['id']}", row["image"], text, entities))
    return {**sets, "kinds": docs} if docs else sets


def describe(docs: list[Doc]) -> str:
    """Counts of a set, in one sentence."""
    entities = [ent for doc in docs for ent in doc.ents]
    shown = [ent for ent in entities if ent._.groundable]
    boxes = sum(len(ent._.boxes) for ent in shown)
    several = sum(len(doc.ents) > 1 for doc in docs)
    return (
        f"{len(docs)} posts ({several} with several entities), {len(entities)} entities, {len(entities) - len(shown)} of them "
        f"({100 * (1 - len(shown) / len(entities)):.1f} %) not in the picture, {boxes} gold boxes"
    )


def _digest(nlp: Language) -> str:
    """Tells pipelines of one version apart."""
    return hashlib.sha256(nlp.to_bytes(exclude=["vocab", "tokenizer"])).hexdigest()[:8]


def main() -> None:
    """Make the posts, run the pipeline, write the page."""
    from photo_posts_report import report_set  # beside this file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=None, help="pipeline to run; without one the posts are only written")
    parser.add_argument("--photos", type=Path, required=True, help="folder of the extracted photograph archives")
    parser.add_argument(
        "--corpus", type=Path, default=Path("corpus/photo_posts"), help="where to write the posts (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/photo_posts.md"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=0, help="take so many posts of each set at most")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    sets = make_posts(args.photos, seed=args.seed)
    for part, docs in sets.items():
        write_docbin(docs, args.corpus / f"{part}.spacy")
    if args.model is None:
        print("\n".join(f"{part}: {describe(docs)}" for part, docs in sets.items()))
        return
    import torch

    torch.set_num_threads(args.threads)
    nlp = spacy.load(args.model)
    meta = f"{nlp.meta['name']} {nlp.meta['version']} (weights {_digest(nlp)})"
    lines = [
        "# Posts made from held-out photographs",
        "",
        re.sub(r"^.*?\n\n    python.*?\n\n", "", __doc__, flags=re.DOTALL).strip(),
        "",
    ]
    lines += [f"Pipeline: {meta}. Seed {args.seed}. Rule `offset`, MISC as OTHER, IoU >= 0.5; gold tokens, no knowledge.", ""]
    for part, docs in sets.items():
        docs = docs[: args.limit] if args.limit else docs
        for doc in docs:
            move_image(doc, str(args.photos / doc._.image))
        started = time.perf_counter()
        lines += [f"## {part}", "", describe(docs) + ".", "", *report_set(nlp, docs), ""]
        lines += [f"({time.perf_counter() - started:.0f} s for all runs of this set.)", ""]
    command = f"python benchmarks/photo_posts.py {args.model} --photos FOLDER --seed {args.seed}" + (
        f" --limit {args.limit}" if args.limit else ""
    )
    lines.append(f"Made by `{command}`.")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text("\n".join(lines) + "\n", encoding="utf8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
