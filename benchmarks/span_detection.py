"""What span detection (`span_loss` of `rivega.MultimodalTagger.v1`) is worth: the same training with and without it.

    rivega data unpack-photos PHOTO_ARCHIVES corpus/photos
    python benchmarks/picture_decides.py make --photos corpus/photos --output corpus/decides
    python benchmarks/span_detection.py --decides corpus/decides --texts corpus --posts 800 --epochs 6 --seeds 1 2

Trained on posts whose picture decides and on as many of Twitter-GMNER without pictures. Only the tagger learns: MiniLM's vectors and the
picture's regions are made once, so that a training takes a minute of one core. Tested on the posts whose picture decides, and on Twitter texts
without pictures and with photographs that have nothing to do with them, which is what UMT's span detection is meant for.
"""

import argparse
import random
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch, registry
from thinc.api import Adam, Model

from rivega_spacy.backends.fusion.pictures import LiteGrid
from rivega_spacy.corpus.docbin import read_docbin
from rivega_spacy.post.images import doc_image

VECTORS: dict[str, Any] = {}
REGIONS: dict[str, torch.Tensor] = {}


@registry.architectures("benchmark.KeptVectors.v1")
def kept_vectors() -> Model:
    """Token vectors from `VECTORS`, by the text of the post; nothing learns."""

    def forward(model: Model, docs: list[Doc], is_train: bool) -> tuple[list[Any], Any]:
        return [VECTORS[doc.text] for doc in docs], _nothing

    return Model("kept-vectors", forward)


def _nothing(gradient: Any) -> list[Doc]:
    return []


class KeptRegions:
    """In the place of the tagger's own: regions from `REGIONS`, by the path of the picture."""

    def of(self, shim: Any, docs: Any) -> list[torch.Tensor | None]:
        """As `multimodal._Regions.of`."""
        return [None if doc._.image is None else REGIONS[doc._.image] for doc in docs]


def encode(posts: list[Doc], side: int) -> None:
    """Fill `VECTORS` and `REGIONS`."""
    nlp = spacy.blank("rivega")
    encoder = {
        "@architectures": "rivega.KnowledgeTransformerModel.v1",
        "name": {"@misc": "rivega.minilm_path.v1"},
        "case_features": True,
    }
    transformer = nlp.add_pipe("transformer", config={"model": encoder})
    tagger = nlp.add_pipe("rivega_ner")
    nlp.initialize(lambda: [Example(doc.copy(), doc) for doc in posts[:8] if doc.ents])
    listener = tagger.model.get_ref("tok2vec")
    for batch in minibatch(list({doc.text: doc for doc in posts}.values()), 64):
        docs = [
            Doc(nlp.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc]) for doc in batch
        ]
        docs = list(transformer.pipe(docs, batch_size=64))
        VECTORS.update({doc.text: found for doc, found in zip(docs, listener.predict(docs))})
    grid = LiteGrid(side).load().eval()
    for batch in minibatch(list({doc._.image: doc for doc in posts if doc._.image is not None}.values()), 8):
        images = [doc_image(doc, "benchmark") for doc in batch]
        REGIONS.update({doc._.image: found for doc, found in zip(batch, grid.encode(images).half())})


def train(posts: list[Doc], *, span_loss: float, seed: int, epochs: int, side: int) -> Any:
    """A tagger that has learnt from the posts."""
    fix_random_seed(seed)
    nlp = spacy.blank("rivega")
    model = {
        "@architectures": "rivega.MultimodalTagger.v1",
        "tok2vec": {"@architectures": "benchmark.KeptVectors.v1"},
        "pictures": {"@misc": "rivega.LiteGrid.v1", "side": side},
        "crf_learn_rate": 10.0,
        "span_loss": span_loss,
    }
    tagger: Any = nlp.add_pipe("rivega_ner", config={"model": model})
    examples = [Example(bare(nlp, doc, doc._.image), doc) for doc in posts]
    nlp.initialize(lambda: examples)
    tagger.model.attrs["regions"] = KeptRegions()
    optimizer, rng = Adam(0.0005, grad_clip=1.0, use_averages=False), random.Random(seed)
    steps, step = epochs * -(-len(examples) // 32), 0
    for _ in range(epochs):
        rng.shuffle(examples)
        for batch in minibatch(examples, 32):
            optimizer.learn_rate = 0.0005 * min(1.0, (step + 1) / 20, (steps - step) / steps * 2)
            nlp.update(list(batch), sgd=optimizer, drop=0.1)
            step += 1
    return nlp


def bare(nlp: Any, doc: Doc, image: str | None) -> Doc:
    """The post without its entities, with a picture."""
    copy = Doc(nlp.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])
    copy._.image = image
    return copy


def measure(nlp: Any, gold: list[Doc], pictures: list[str | None]) -> str:
    """F1 of entities, and of their places alone."""
    found = list(nlp.pipe((bare(nlp, doc, image) for doc, image in zip(gold, pictures)), batch_size=64))
    shown = []
    for typed in (True, False):
        pairs = [
            ({_key(ent, typed) for ent in one.ents}, {_key(ent, typed) for ent in other.ents}) for one, other in zip(gold, found)
        ]
        right = sum(len(wanted & told) for wanted, told in pairs)
        shown.append(f"{200 * right / sum(len(wanted) + len(told) for wanted, told in pairs):.1f}")
    return " / ".join(shown)


def _key(ent: Any, typed: bool) -> tuple[Any, ...]:
    return (ent.start, ent.end, ent.label_ if typed else "")


def main() -> None:
    """Print a row for each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decides", type=Path, required=True, help="what picture_decides.py made")
    parser.add_argument("--texts", type=Path, required=True, help="train.spacy and test.spacy of Twitter-GMNER")
    parser.add_argument("--posts", type=int, default=800, help="training posts of each kind")
    parser.add_argument("--test", type=int, default=600, help="test posts of Twitter-GMNER")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--side", type=int, default=96, help="of the pictures")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    vocab = spacy.blank("rivega").vocab
    decides = {part: list(read_docbin(given.decides / f"{part}.spacy", vocab)) for part in ("train", "test")}
    texts = {part: list(read_docbin(given.texts / f"{part}.spacy", vocab)) for part in ("train", "test")}
    rng = random.Random(0)
    posts = rng.sample(decides["train"], min(given.posts, len(decides["train"])))
    for doc in texts["train"] + texts["test"]:
        doc._.image = None
    posts += rng.sample(texts["train"], given.posts)
    tests = texts["test"][: given.test]
    own: list[str | None] = [doc._.image for doc in decides["test"]]
    strange = [rng.choice(own) for _ in tests]
    encode(posts + decides["test"] + tests, given.side)
    print(
        "| seed | span_loss | picture decides | no picture | Twitter, no picture | Twitter, strange picture |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for seed in given.seeds:
        for span_loss in (0.0, 0.5):
            nlp = train(posts, span_loss=span_loss, seed=seed, epochs=given.epochs, side=given.side)
            cells = [
                measure(nlp, decides["test"], own),
                measure(nlp, decides["test"], [None] * len(own)),
                measure(nlp, tests, [None] * len(tests)),
                measure(nlp, tests, strange),
            ]
            print(f"| {seed} | {span_loss} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
