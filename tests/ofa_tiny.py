"""A tiny random OFA with a real vocabulary, for the tests of the port and of the components around it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from blank import blank_nlp
from expressions_of import expressions
from spacy.tokens import Span
from tokenizers.pre_tokenizers import ByteLevel

from rivega_spacy.backends.ofa.config import OFAConfig
from rivega_spacy.backends.ofa.network import OFA
from rivega_spacy.pipes.queries import ImageQueries

# The labels are single tokens, and " not sure" and " not at all" share their first, as in the published vocabulary.
WORDS = ["Ġno", "Ġyes", "Ġmaybe", "Ġnot", "Ġsure", "Ġat", "Ġall", "Ġimage", "Ġthe", "Ġdoes", "Ġdescribe", "Ġregion", "Ġtext"]
BINS = 50


def vocabulary() -> "tuple[dict[str, int], list[str]]":
    """Four special tokens, all bytes, and the merges that lead to WORDS."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>"] + sorted(ByteLevel.alphabet())
    merges: list[str] = []
    for word in WORDS:
        left = word[0]
        for letter in word[1:]:
            if left + letter not in tokens:
                tokens.append(left + letter)
                merges.append(f"{left} {letter}")
            left += letter
    return {token: i for i, token in enumerate(tokens)}, merges


def write_vocabulary(folder: Path) -> Path:
    """vocab.json and merges.txt, as Hugging-Face-style folders have them."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab, merges = vocabulary()
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf8")
    return folder


def sizes(**changes: Any) -> dict[str, Any]:
    """Sizes of the network, as `network` takes them."""
    first = len(vocabulary()[0])
    config = {
        "width": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "heads": 4,
        "decoder_heads": 4,
        "encoder_ffn": 64,
        "decoder_ffn": 64,
        "resnet_layers": [1, 1, 1],
        "resnet_width": 8,
        "vocab_size": first + BINS,
        "positions": 260,
        "token_buckets": 8,
        "image_buckets": 6,
        "bin_0": first,
        "bins": BINS,
    }
    return {**config, **changes}


def tiny_network(seed: int = 0, **changes: Any) -> OFA:
    """Random weights, large enough that answers depend on what is asked; relative tables are not zero either."""
    import torch

    network = OFA(OFAConfig.from_dict(sizes(**changes))).reset_parameters(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "rel_pos" in name or name.endswith("bias") or "c_attn" in name:
                value.add_(torch.empty(value.shape).normal_(0.0, 0.3, generator=generator))
        for name, value in network.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(0.0, 0.2, generator=generator)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def write_folder(folder: Path, seed: int = 0) -> Path:
    """A Hugging-Face-style folder: config.json, pytorch_model.bin, vocabulary."""
    import torch

    network = tiny_network(seed)
    write_vocabulary(folder)
    config = network.config
    told = {
        "d_model": config.width,
        "encoder_layers": config.encoder_layers,
        "attn_scale_factor": 2.0,
        "normformer": True,
        "num_bins": BINS,
    }
    (folder / "config.json").write_text(json.dumps(told), encoding="utf8")
    torch.save(to_hf(published(network)), folder / "pytorch_model.bin")
    return folder


def published(network: OFA) -> dict[str, Any]:
    """The state dict under fairseq's names, with everything that its files hold besides."""
    import torch

    state = {name: value.clone() for name, value in network.state_dict().items()}
    table = state.pop("embed_tokens.weight")
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight"):
        state[name] = table
    for part in ("encoder", "decoder"):
        state[f"{part}.version"] = torch.tensor([3.0])
        state[f"{part}.token_rp_bucket"] = network.encoder.token_rp_bucket.clone()
        state[f"{part}.image_rp_bucket"] = network.encoder.image_rp_bucket.clone()
    state["decoder.image_position_idx"] = torch.zeros(1026, dtype=torch.long)
    return state


def to_hf(state: dict[str, Any]) -> dict[str, Any]:
    """fairseq's names to the Hugging-Face-style ones."""
    renamed = {}
    for name, value in state.items():
        if name.endswith(".version"):
            continue
        name = name.replace(".self_attn_ln.", ".self_attn_mid_layer_norm.").replace(".attn_ln.", ".self_attn_mid_layer_norm.")
        name = name.replace(".cross_attn_ln.", ".cross_attn_mid_layer_norm.").replace(".ffn_layernorm.", ".ffn_layer_norm.")
        name = name.replace(".encoder_attn.", ".cross_attn.").replace(".encoder_attn_layer_norm.", ".cross_attn_layer_norm.")
        renamed[name] = value
    return renamed


def picture(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    """A picture with structure, HxWx3 uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(1, height // 8), max(1, width // 8), 3))
    rows = np.arange(height) * coarse.shape[0] // height
    columns = np.arange(width) * coarse.shape[1] // width
    return coarse[rows][:, columns].astype("uint8")


def asked(seed: int, *wanted: Any, caption: str = "", key: str = "") -> ImageQueries:
    """Questions about a picture."""
    return ImageQueries(picture(seed), expressions(*wanted), caption, key)


def demo_examples(nlp: Any, *, limit: int, only_boxes: bool = False) -> list[Any]:
    """Real photographs with gold entities: the posts of assets/demo as examples."""
    from spacy.tokens import Doc
    from spacy.training import Example

    folder = Path(__file__).resolve().parents[1] / "assets" / "demo"
    gold = {row["id"]: row["ents"] for row in _lines(folder / "expected.jsonl")}
    examples = []
    for post in _lines(folder / "posts.jsonl"):
        if len(examples) == limit:
            break
        doc = nlp.make_doc(post["text"])
        doc._.image = str(folder / post["image"]) if (folder / post["image"]).is_file() else str(folder / "images" / post["image"])
        spans = []
        for ent in gold[post["id"]]:
            span = doc.char_span(ent["start"], ent["end"], label=ent["labels"][0])
            if span is not None and (ent["boxes"] or not only_boxes):
                span._.groundable = bool(ent["shown"])
                span._.boxes = ent["boxes"]
                spans.append(span)
        doc.ents = spans
        predicted = Doc(nlp.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])
        predicted._.image = doc._.image
        if spans:
            examples.append(Example(predicted, doc))
    return examples


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines() if line.strip()]


def trainable(component: str, architecture: str, vocab: Path, **options: Any) -> Any:
    """A pipeline of one tiny OFA component, as `spacy train` builds it."""
    nlp = blank_nlp()
    settings = {"drop_path": 0.0, "half_on_disk": False, **options}
    model = {"@architectures": architecture, "network": sizes(), "vocab": str(vocab), **settings}
    nlp.add_pipe(component, config={"model": model})
    return nlp


def learn(nlp: Any, component: str, examples: list[Any], optimizer: Any, steps: int) -> list[float]:
    """The losses of so many steps over all examples."""
    losses = []
    for _ in range(steps):
        step: dict[str, float] = {}
        nlp.update(examples, sgd=optimizer, drop=0.0, losses=step)
        losses.append(step[component])
    return losses


def answered(nlp: Any, component: str, examples: list[Any]) -> list[Any]:
    """The gold entities of all examples, with what the component says of them."""
    found: list[Any] = []
    for example in examples:
        doc = example.predicted.copy()
        doc._.image = example.predicted._.image
        doc.ents = [Span(doc, ent.start, ent.end, label=ent.label_) for ent in example.reference.ents]
        found += nlp.get_pipe(component)(doc).ents
    return found


def run_config(name: str, component: str, weights: Path, folder: Path, **model: Any) -> Any:
    """Train with a config of the project for two steps on four posts and return the best pipeline, from disk."""
    from spacy.cli.train import train
    from spacy.tokens import DocBin

    nlp = blank_nlp()
    posts = DocBin(docs=[example.reference for example in demo_examples(nlp, limit=4)], store_user_data=True)
    posts.to_disk(folder / "posts.spacy")
    overrides = {
        "paths.train": str(folder / "posts.spacy"),
        "paths.dev": str(folder / "posts.spacy"),
        "paths.weights": str(weights),
        "paths.vocab": str(weights),
        "training.max_steps": 2,
        "training.eval_frequency": 1,
        "training.accumulate_gradient": 2,
        "training.optimizer.learn_rate.warmup_steps": 1,
    }
    overrides.update({f"components.{component}.model.{key}": value for key, value in model.items()})
    root = Path(__file__).resolve().parents[1]
    train(root / "configs" / name, folder / "out", overrides=overrides)
    return spacy.load(folder / "out" / "model-last")
