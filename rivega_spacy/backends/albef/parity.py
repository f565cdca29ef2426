"""ALBEF against reference outputs of the published code: what `rivega parity` runs."""

from pathlib import Path

import numpy as np
import torch

from ..parity import Comparison, References
from .images import preprocess
from .model import Albef, AlbefConfig, distilled_loss
from .text import WordPieces, clean
from .vit import resize_positions
from .weights import load_albef, read_state, to_ve_layout, twin_state

# Single against double precision differs by at most 4e-6 upstream.
TOLERANCE = 5e-5


def compare(references: References) -> list[Comparison]:
    """Run references through the port. RETURNS (List[Comparison]): One for each reference tensor."""
    folder, config, state, inputs, expected = references
    model = Albef(AlbefConfig.from_upstream(config)).eval()
    load_albef(model, to_ve_layout(state, path=folder), path=references.weights)
    with torch.inference_mode():
        found = _network_outputs(model, state, inputs, expected)
    rows = [Comparison.close(name, found.get(name), expected[name], TOLERANCE) for name in sorted(expected)]
    rows += _preprocessing(inputs)
    rows += _texts(config)
    if (folder / "pretrain_layout.pth").is_file():
        rows += _pretraining_file(folder / "pretrain_layout.pth", model.config, inputs, expected)
    return rows


def _network_outputs(
    model: Albef, state: dict[str, torch.Tensor], inputs: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    found = {"patch_embed": model.visual_encoder.patch_embed(inputs["image"])}
    found["image_embeds"] = image = model.encode_image(inputs["image"])
    hidden = model.text_encoder(ids, mask, image)
    found.update({f"text_hidden_{n}": value for n, value in enumerate(hidden)})
    found["last_hidden_state"] = hidden[-1]
    found["text_only_last_hidden_state"] = model.text_encoder(ids, mask, None)[-1]
    found["logits"] = logits = model.classify(image, ids, mask)
    found["probs"] = logits.softmax(-1)
    found["probs_contradiction_vs_entailment"] = logits[:, [0, 2]].softmax(-1)
    teacher = None
    weights = twin_state(state)
    if weights:
        twin = Albef(model.config).eval()
        load_albef(twin, weights)
        found["logits_momentum"] = teacher = twin.classify(twin.encode_image(inputs["image"]), ids, mask)
    for name in expected:
        if name.startswith("loss_alpha_") and "targets" in inputs:
            alpha = float(name[len("loss_alpha_") :])
            if alpha == 0.0 or teacher is not None:
                found[name] = distilled_loss(logits, inputs["targets"], teacher, alpha).reshape(1)
        if name.startswith("interp.to_"):
            side = int(name.rsplit("x", 1)[1])
            source = next((value for key, value in inputs.items() if key.startswith("interp.pos_embed")), None)
            if source is not None:
                found[name] = resize_positions(source, side * side + 1)
    return found


def _preprocessing(inputs: dict[str, torch.Tensor]) -> list[Comparison]:
    rows = []
    for n in range(inputs["image"].shape[0]):
        raw = inputs.get(f"raw_image_{n}")
        if raw is not None:
            made = torch.from_numpy(preprocess(raw.numpy(), inputs["image"].shape[-1]))
            rows.append(Comparison.close(f"preprocess.{n}", made, inputs["image"][n], TOLERANCE))
    return rows


def _texts(config: dict) -> list[Comparison]:
    rows = []
    examples = config.get("pre_caption", [])
    if examples:
        wrong = sum(clean(example["text"]) != example["out"] for example in examples)
        rows.append(Comparison.equal("pre_caption", wrong))
    reference = config.get("tokenizer")
    if reference and examples:
        ids, mask = WordPieces(reference["vocab"])([example["out"] for example in examples], cleaned=True)
        for name, made in (("input_ids", ids), ("attention_mask", mask)):
            wanted = np.asarray(reference[name])
            wrong = int((made != wanted).sum()) if made.shape == wanted.shape else max(made.size, wanted.size)
            rows.append(Comparison.equal(f"tokenizer.{name}", wrong))
    return rows


def _pretraining_file(
    path: Path, config: AlbefConfig, inputs: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> list[Comparison]:
    """The same weights in the pre-training layout: everything that does not depend on the position grid must be equal."""
    model = Albef(config).eval()
    state = read_state(path)
    missing = load_albef(model, state, path=path)
    rows: list[Comparison] = []
    only_head = all(name.startswith("cls_head.") for name in missing)
    rows.append(Comparison.equal("pretrain_layout.missing_besides_head", int(not only_head)))
    with torch.inference_mode():
        text = model.text_encoder(inputs["input_ids"], inputs["attention_mask"], None)[-1]
        rows.append(Comparison.close("pretrain_layout.text_only", text, expected["text_only_last_hidden_state"], TOLERANCE))
        rows.append(
            Comparison.close(
                "pretrain_layout.patch_embed", model.visual_encoder.patch_embed(inputs["image"]), expected["patch_embed"], TOLERANCE
            )
        )
        side = config.image_size // config.patch_size
        source, wanted = inputs.get("interp.pos_embed_4x4"), expected.get(f"interp.to_{side}x{side}")
        if source is not None and wanted is not None and torch.equal(source, state["visual_encoder.pos_embed"]):
            rows.append(Comparison.close("pretrain_layout.pos_embed", model.visual_encoder.pos_embed, wanted, TOLERANCE))
    return rows
