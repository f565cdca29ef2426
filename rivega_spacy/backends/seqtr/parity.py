"""SeqTR against reference outputs of the published code: what `rivega parity` runs."""

import numpy as np
import torch

from ..parity import Comparison, References
from .geometry import bins_to_box, box_to_bins
from .images import preprocess
from .model import Seqtr, SeqtrConfig, padding_mask, smoothed_loss
from .text import clean, tokenize
from .weights import load_seqtr

# Upstream in single precision differs from itself by up to 7e-5; bins must be equal.
TOLERANCE = 5e-4
# Scaling by PyTorch instead of OpenCV may differ by one grey level.
GREY = 1.0


def compare(references: References) -> list[Comparison]:
    """Run references through the port. RETURNS (List[Comparison]): One for each reference tensor."""
    _, config, state, inputs, expected = references
    model = Seqtr(SeqtrConfig.from_upstream(config)).eval()
    load_seqtr(model, state, path=references.weights)
    with torch.inference_mode():
        found = _network_outputs(model, inputs)
        for name in expected:
            if name.startswith("single_") and name.endswith(".pred_bboxes_original_scale"):
                found.update(_single(model, inputs, int(name.split(".")[0][len("single_") :])))
    rows = []
    for name in sorted(expected):
        exact = expected[name].dtype in (torch.int64, torch.int32, torch.bool)
        rows.append(Comparison.close(name, found.get(name), expected[name], 0.0 if exact else TOLERANCE))
    return rows + _preprocessing(model.config, inputs) + _texts(config)


def _network_outputs(model: Seqtr, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    pixels, words = inputs["img"], inputs["ref_expr_inds"]
    sizes = [(int(h), int(w)) for h, w in inputs["img_shape"][:, :2]]
    padded = [(int(h), int(w)) for h, w in inputs["pad_shape"][:, :2]]
    found = {f"vis_{n}": value for n, value in enumerate(model.vis_enc(pixels))}
    found["lan_words"], found["lan"] = model.lan_enc(words)
    found["fusion"] = model.fusion(model.encode_image(pixels), found["lan"])
    mask = padding_mask(sizes, pixels.shape[2], pixels.shape[3])
    memory = model.head.transformer.encode(found["fusion"], mask)
    found["memory"], found["x_pos_embeds"], found["x_mask"] = memory
    bins = model.config.bins
    if "gt_bbox_in_img_shape_scale" in inputs:
        boxes = inputs["gt_bbox_in_img_shape_scale"].numpy()
        targets = torch.from_numpy(np.stack([box_to_bins(box, size, bins) for box, size in zip(boxes, padded)]))
        found["train_targets"] = targets
        found["train_seq_in_embeds"] = model.head.transformer.embed(targets[:, :-1])
        found["train_logits"] = logits = model.forced(memory, targets)
        noise, first = model.config.label_noise, model.config.first_weight
        found["train_loss"] = smoothed_loss(logits, targets, noise=noise, first_weight=first).reshape(1)
    decoded = model.decode(memory)
    found["seq_out_bbox"], found["greedy_logits"] = decoded.bins, decoded.logits
    rows = decoded.bins.numpy()
    scale = [(float(s[0]), float(s[1])) for s in inputs["scale_factor"]]
    found["pred_bboxes_padded_scale"] = _boxes(rows, padded, [(1.0, 1.0)] * len(padded), bins)
    found["pred_bboxes_original_scale"] = _boxes(rows, padded, scale, bins)
    return found


def _boxes(rows: np.ndarray, padded: list[tuple[int, int]], scales: list[tuple[float, float]], bins: int) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([bins_to_box(r[None], p, s, bins) for r, p, s in zip(rows, padded, scales)]))


def _single(model: Seqtr, inputs: dict[str, torch.Tensor], n: int) -> dict[str, torch.Tensor]:
    """One picture of the batch alone, padded to itself only."""
    height, width = (int(x) for x in inputs["pad_shape"][n, :2])
    pixels = inputs["img"][n : n + 1, :, :height, :width]
    size = (int(inputs["img_shape"][n, 0]), int(inputs["img_shape"][n, 1]))
    mask = padding_mask([size], height, width)
    memory = model.memory(model.encode_image(pixels), inputs["ref_expr_inds"][n : n + 1], mask)
    scale = (float(inputs["scale_factor"][n, 0]), float(inputs["scale_factor"][n, 1]))
    boxes = bins_to_box(model.decode(memory).bins.numpy(), (height, width), scale, model.config.bins)
    return {f"single_{n}.pred_bboxes_original_scale": torch.from_numpy(boxes)}


def _preprocessing(config: SeqtrConfig, inputs: dict[str, torch.Tensor]) -> list[Comparison]:
    rows = []
    for n in range(inputs["img"].shape[0]):
        raw, wanted = inputs.get(f"raw_image_rgb_{n}"), inputs.get(f"preprocessed_{n}")
        if raw is None or wanted is None:
            continue
        made = preprocess(raw.numpy(), max_side=config.max_side, divisor=config.divisor)
        rows.append(Comparison.close(f"preprocessed_{n}", torch.from_numpy(made.pixels), wanted, GREY))
        rows.append(Comparison.close(f"img_shape_{n}", torch.tensor(made.size), inputs["img_shape"][n, :2], 0.0))
        rows.append(Comparison.close(f"scale_factor_{n}", torch.tensor(made.scale), inputs["scale_factor"][n, :2], 1e-6))
    return rows


def _texts(config: dict) -> list[Comparison]:
    rows = []
    examples = config.get("clean_string", [])
    if examples:
        wrong = sum(clean(example["text"]) != example["out"] for example in examples)
        rows.append(Comparison.equal("clean_string", wrong))
        wrong = sum(tokenize(example["text"]) != example["tokens"] for example in examples if "tokens" in example)
        rows.append(Comparison.equal("tokens", wrong))
    return rows
