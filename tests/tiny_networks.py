"""Tiny random networks in the layouts of the published ones, and the photographs that tests let them learn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import srsly
import torch
from expressions_of import expressions
from thinc.api import Adam, Model

from rivega_spacy.pipes.queries import ImageQueries, QueryTarget
from rivega_spacy.post.boxes import box_iou
from rivega_spacy.post.expressions import Expression
from rivega_spacy.post.images import read_image

DEMO = Path(__file__).resolve().parents[1] / "assets" / "demo"
WORDS = [
    "red",
    "blue",
    "square",
    "round",
    "thing",
    "per",
    "loc",
    "other",
    "a",
    "the",
    "cat",
    "dog",
    "woman",
    "rocket",
    "person",
    "(",
    ")",
    "—",
    ".",
    ",",
]
WORDS += ["eileen", "collins", "space", "shuttle", "elmira", "rex", "hamburg", "##per", "##loc", "##other"]
# Such small tensors gain nothing from threads, which wait for each other on a busy machine.
torch.set_num_threads(1)
ALBEF_SIZES: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "vision_width": 24,
    "vision_depth": 2,
    "vision_heads": 4,
    "vocab_size": 5 + len(WORDS),
    "text_width": 32,
    "text_depth": 2,
    "text_heads": 4,
    "text_inner": 48,
    "fusion_layer": 1,
    "positions": 64,
}
SEQTR_SIZES: dict[str, Any] = {
    "word_width": 16,
    "stem": 4,
    "gru_width": 64,
    "map_channels": [32, 64, 128],
    "width": 64,
    "heads": 4,
    "decoder_heads": 4,
    "inner": 64,
    "decoder_inner": 64,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "bins": 50,
    "predictor": [64, 64],
}
# Pictures and texts that every backend must survive.
ODD_PICTURES = [(1, 1), (1, 4000), (4000, 1), (7, 300)]
ODD_TEXTS = ["word " * 500, "", "😀😀 🚀", ("Ann", "PER")]


def write_vocab(folder: Path) -> str:
    """BERT's vocab.txt with a few words."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf8")
    return str(folder / "vocab.txt")


def scaled_init(network: torch.nn.Module) -> None:
    """Random weights large enough for a narrow network to pass signals on."""
    for parameter in network.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)


def bert_tokenizer(pieces: list[str]) -> Any:
    """A fast BERT tokenizer over the given pieces, holes filled with words that do not occur."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    table = {piece: n for n, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(table, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [("[CLS]", table["[CLS]"]), ("[SEP]", table["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def coloured(height: int, width: int, *blocks: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> np.ndarray:
    """A dark picture with coloured rectangles, each (x1, y1, x2, y2), (r, g, b)."""
    image = np.full((height, width, 3), 30, dtype="uint8")
    for (x1, y1, x2, y2), colour in blocks:
        image[y1:y2, x1:x2] = colour
    return image


RED, BLUE = (220, 20, 20), (20, 20, 220)


def colour_questions() -> tuple[list[ImageQueries], list[list[QueryTarget]]]:
    """Which of two colours a picture shows: neither picture nor text alone gives the answer."""
    texts = expressions(("red thing", "PER"), ("blue thing", "LOC"))
    batch = [ImageQueries(coloured(40, 50, ((10, 10, 40, 30), colour)), texts) for colour in (RED, BLUE)]
    return batch, [[target(True), target(False)], [target(False), target(True)]]


def box_questions() -> tuple[list[ImageQueries], list[list[QueryTarget]]]:
    """Where two colours are in two pictures; one gold entity has a second, smaller box."""
    texts = expressions(("red thing", "PER"), ("blue thing", "LOC"))
    first = coloured(60, 80, ((5, 10, 30, 50), RED), ((45, 5, 75, 30), BLUE))
    second = coloured(96, 64, ((30, 50, 60, 90), RED), ((5, 5, 30, 40), BLUE))
    batch = [ImageQueries(first, texts), ImageQueries(second, texts)]
    targets = [
        [target(True, (0, 0, 5, 5), (5, 10, 30, 50)), target(True, (45, 5, 75, 30))],
        [target(True, (30, 50, 60, 90)), target(True, (5, 5, 30, 40))],
    ]
    return batch, targets


def photographs(ids: tuple[str, ...] = ("astronaut", "rex")) -> tuple[list[ImageQueries], list[list[QueryTarget]]]:
    """Real photographs with their gold entities."""
    batch, targets = [], []
    posts = {post["id"]: post for post in srsly.read_jsonl(DEMO / "posts.jsonl")}
    for row in srsly.read_jsonl(DEMO / "expected.jsonl"):
        if row["id"] in ids:
            texts = [Expression(ent["text"], ent["labels"][0]) for ent in row["ents"]]
            batch.append(ImageQueries(read_image(str(DEMO / posts[row["id"]]["image"])), texts))
            targets.append([target(ent["shown"], *ent["boxes"]) for ent in row["ents"]])
    assert len(batch) == len(ids)
    return batch, targets


def target(shown: Any, *boxes: tuple[float, ...]) -> QueryTarget:
    """The right answer to one question."""
    return QueryTarget(shown, np.array(boxes, dtype="float32").reshape(-1, 4))


def learn(model: Model, batch: Any, targets: Any, *, steps: int, rate: float, clip: float = 1.0) -> list[float]:
    """Take training steps on one batch. RETURNS (List[float]): The losses."""
    optimizer = Adam(rate, L2=0.0, L2_is_weight_decay=True, grad_clip=clip)
    losses = []
    for _ in range(steps):
        parts = model.attrs["train_step"](model, batch, targets, dropout=0.0)
        losses.append(parts.get("loss", sum(parts.values())))
        model.finish_update(optimizer)
    return losses


def reloaded(model: Model, make: Callable[[], Model]) -> Model:
    """The model again, from its bytes alone."""
    return make().from_bytes(model.to_bytes())


def shown_boxes(targets: list[list[QueryTarget]]) -> list[np.ndarray]:
    """The largest gold box of every expression; a row of NaN where there is none."""
    rows = []
    for row in targets:
        areas = [[(b[2] - b[0]) * (b[3] - b[1]) for b in t.boxes] for t in row]
        rows.append(
            np.array([t.boxes[int(np.argmax(a))] if len(a) else np.full(4, np.nan) for t, a in zip(row, areas)], dtype="float64")
        )
    return rows


def overlaps(model: Model, batch: list[ImageQueries], targets: list[list[QueryTarget]]) -> list[float]:
    """The IoU of a grounder's box with the largest gold box, of every expression that has one."""
    found = []
    for row, gold in zip(model.predict(batch), shown_boxes(targets)):
        found += [float(box_iou(box[None, :4], wanted[None])[0, 0]) for box, wanted in zip(row, gold) if np.isfinite(wanted).all()]
    return found


def odd_batch() -> list[ImageQueries]:
    """Pictures and texts at the edge of what occurs, and a picture nothing is asked about."""
    rng = np.random.default_rng(0)
    batch = [ImageQueries(rng.integers(0, 255, (h, w, 3)).astype("uint8"), expressions(*ODD_TEXTS)) for h, w in ODD_PICTURES]
    return [*batch, ImageQueries(np.zeros((20, 20, 3), dtype="uint8"), [])]


def spoil(model: Model) -> None:
    """Put NaN into the network."""
    with torch.no_grad():
        for parameter in model.shims[0].module.parameters():
            if parameter.ndim >= 2:
                parameter.fill_(float("nan"))


def tiny_blip(folder: Path, kind: str) -> str:
    """A folder with a BLIP ("blip") or BLIP-2 ("blip-2") for image-text matching."""
    from transformers import Blip2Config, Blip2ForImageTextRetrieval, BlipConfig, BlipForImageTextRetrieval

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    vision = {
        "hidden_size": 24,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
    }
    text = {"vocab_size": len(pieces), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    text.update(max_position_embeddings=64, encoder_hidden_size=24)
    torch.manual_seed(0)
    if kind == "blip":
        ids = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0, "projection_dim": 16}
        config = BlipConfig(text_config={**text, **ids}, vision_config=vision, image_text_hidden_size=16)
        network = BlipForImageTextRetrieval(config)
    else:
        small = {
            "model_type": "opt",
            "vocab_size": 8,
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "ffn_dim": 8,
        }
        config = Blip2Config(
            vision_config=vision,
            qformer_config={**text, "cross_attention_frequency": 1, "use_qformer_text_input": True},
            text_config={**small, "word_embed_proj_dim": 8},
            num_query_tokens=4,
            image_text_hidden_size=16,
        )
        network = Blip2ForImageTextRetrieval(config)
    scaled_init(network)
    network.save_pretrained(folder)
    bert_tokenizer(pieces).save_pretrained(folder)
    return str(folder)


def tiny_grounding_dino(folder: Path, family: str = "GroundingDino") -> str:
    """A folder with a Grounding DINO, or with another `family` of transformers that is built like it ("MMGroundingDino")."""
    import transformers
    from transformers import SwinConfig

    # The network knows [CLS], [SEP], "." and "?" by their indices in BERT's vocabulary.
    pieces = [f"[unused{n}]" for n in range(1030)]
    pieces[0], pieces[100], pieces[101], pieces[102] = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
    pieces[1012], pieces[1029] = ".", "?"
    for n, word in enumerate(word for word in WORDS if word != "."):
        pieces[200 + n] = word
    backbone = SwinConfig(
        image_size=64, patch_size=4, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[2, 2, 2, 2], window_size=4,
        out_features=["stage3", "stage4"],
    )  # fmt: skip
    text = {"model_type": "bert", "vocab_size": 1030, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = getattr(transformers, f"{family}Config")(
        backbone_config=backbone,
        text_config={**text, "intermediate_size": 48, "max_position_embeddings": 64},
        d_model=64,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_feature_levels=3,
        num_queries=8,
        max_text_len=32,
        encoder_n_points=2,
        decoder_n_points=2,
    )
    torch.manual_seed(0)
    network = getattr(transformers, f"{family}ForObjectDetection")(config)
    with torch.no_grad():
        # Logits are products of normalised states of 64 channels: without this they begin far out.
        network.model.text_projection.weight.mul_(0.1)
        network.model.encoder.layers[0].text_enhancer_layer.layer_norm_after.weight.mul_(0.05)
    network.save_pretrained(folder)
    bert_tokenizer(pieces).save_pretrained(folder)
    return str(folder)


def clip_text() -> tuple[Any, dict[str, int], dict[str, int]]:
    """What networks with CLIP's text tower share: a tokenizer of WORDS, sizes of both towers, and settings of the text one."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = ["<|pad|>", "<unk>", *WORDS, "<|startoftext|>", "<|endoftext|>"]
    first, last = len(pieces) - 2, len(pieces) - 1
    tokenizer = Tokenizer(models.WordLevel({piece: n for n, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=[("<|startoftext|>", first), ("<|endoftext|>", last)]
    )
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    text = {"vocab_size": len(pieces), "max_position_embeddings": 16, "num_hidden_layers": 1, "pad_token_id": 0}
    text.update(bos_token_id=first, eos_token_id=last)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", unk_token="<unk>"), shape, text


def tiny_owlv2(folder: Path) -> str:
    """A folder with an OWLv2."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    tokenizer, shape, text = clip_text()
    config = Owlv2Config(
        text_config={**shape, **text},
        vision_config={**shape, "num_hidden_layers": 2, "image_size": 64, "patch_size": 8},
        projection_dim=32,
    )
    return saved(Owlv2ForObjectDetection, config, tokenizer, folder)


def tiny_clipseg(folder: Path) -> str:
    """A folder with a CLIPSeg of two layers at 64 pixels."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    tokenizer, shape, text = clip_text()
    config = CLIPSegConfig(
        text_config={**shape, **text},
        vision_config={**shape, "num_hidden_layers": 3, "image_size": 64, "patch_size": 16},
        projection_dim=32,
        extract_layers=[0, 1, 2],
        reduce_dim=16,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=32,
    )
    return saved(CLIPSegForImageSegmentation, config, tokenizer, folder)


def saved(kind: Any, config: Any, tokenizer: Any, folder: Path) -> str:
    """A folder with a random network of this kind and its tokenizer."""
    torch.manual_seed(0)
    network = kind(config)
    scaled_init(network)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
