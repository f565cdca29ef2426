"""Our OFA against reference outputs of the published code, for `rivega parity`."""

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import srsly
import torch

from ...post.errors import Errors, RivegaError
from ..conversion import Tensors
from ..parity import Comparison, References
from .checkpoint import load_ofa
from .decoding import BeamOptions, Hypothesis, Trie, beam_search, score_labels
from .loss import smoothed_cross_entropy
from .network import EncoderOutput
from .pictures import bins_to_box, box_to_bins, to_pixels
from .tokens import OFATokenizer, clean_text, entailment_prompt, grounding_prompt
from .training import TargetRow, answer_tensors

# Single precision on both sides; the published code itself is 1e-5 away from its double-precision results.
TOLERANCE = 1e-4
# Sums of a few dozen token losses.
LOSS_TOLERANCE = 1e-3
# Pixels of the picture: bins must be equal, so only rounding is left.
BOX_TOLERANCE = 1e-3


class _Folder:
    """A folder of references and our results for it, each computed once."""

    def __init__(self, references: References) -> None:
        self.path, self.config, self.state, self.inputs, self.outputs = references
        self.network = load_ofa(self.path, options=self._options())
        self._encoded: dict[str, EncoderOutput] = {}
        self._logits: dict[str, tuple[torch.Tensor, list[torch.Tensor]]] = {}
        self._features: dict[str, torch.Tensor] = {}
        self._answers: dict[str, list[list[Hypothesis]]] = {}

    def _options(self) -> dict[str, Any]:
        options = dict(self.config.get("args", {}))
        options.update(self.config.get("hf_config", {}))
        options.update({name: self.config[name] for name in ("num_bins", "bin_0_index") if name in self.config})
        return options

    @property
    def scale(self) -> float:
        """Pixels that the last bin stands for."""
        return float(self.config.get("max_image_size", self.inputs["vg.patch_images"].shape[-1]))

    def given(self, case: str, name: str) -> torch.Tensor:
        """An input; cases that only change the encoder's input share the others with `fwd`."""
        for key in (f"{case}.{name}", f"fwd.{name}"):
            if key in self.inputs:
                return self.inputs[key]
        raise RivegaError(Errors.E722.format(path=self.path, name=f"{case}.{name}"))

    def encoded(self, case: str) -> EncoderOutput:
        if case not in self._encoded:
            picture = None
            shown = None
            if case != "fwd_textonly":
                picture = self.network.encoder.pictures(self.given(case, "patch_images"))
                self._features[case] = cast(torch.Tensor, picture.features)
                shown = self.given(case, "patch_masks") if self._honours_masks(case) else None
            tokens = self.given(case, "src_tokens")
            self._encoded[case] = self.network.encode(tokens, picture, shown, keep_layers=True)
        return self._encoded[case]

    def _honours_masks(self, case: str) -> bool:
        # The Hugging-Face-style code takes `patch_masks` and does nothing with them.
        told = f"{case}.patch_masks" in self.inputs or "fwd.patch_masks" in self.inputs
        return told and "hf_config" not in self.config

    def features(self, case: str) -> torch.Tensor:
        self.encoded(case)
        return self._features[case]

    def decoded(self, case: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
        if case not in self._logits:
            states, layers = self.network.decode(self.given(case, "prev_output_tokens"), self.encoded(case), keep_layers=True)
            self._logits[case] = self.network.logits(states), layers
        return self._logits[case]

    def source_mask(self, case: str) -> torch.Tensor:
        """B x S bool, True if there is a patch or token."""
        encoded = self.encoded(case)
        count, size = encoded.states.shape[:2]
        if encoded.hidden is not None:
            return ~encoded.hidden
        lengths = torch.tensor(encoded.lengths or [size] * count)
        return torch.arange(size)[None] < lengths[:, None]

    def target_mask(self, case: str) -> torch.Tensor:
        return self.given(case, "prev_output_tokens").ne(self.network.config.pad)

    def answers(self, case: str) -> list[list[Hypothesis]]:
        if case not in self._answers:
            config = self.network.config
            settings = {
                "vg_eval": BeamOptions(beam=5, no_repeat_ngram=3),
                "vg_beam5": BeamOptions(beam=5),
                "vg_greedy": BeamOptions(beam=1),
                "vg_range": BeamOptions(beam=5, allowed=(config.bin_0, config.vocab_size)),
                "long": BeamOptions(beam=3, min_len=1, max_len=12, no_repeat_ngram=2),
            }
            self._answers[case] = beam_search(self.network, self.encoded("vg"), settings[case])
        return self._answers[case]

    def trie(self, case: str) -> Trie:
        names = self.config["meta"][f"{case}.index2ans"]
        tokens = self.config["meta"][f"{case}.label_token_ids"]
        order = [names[key] for key in sorted(names, key=int)]
        return Trie(tuple(tuple(tokens[name]) for name in order), self.network.config.eos)

    def prompts(self, case: str) -> list[list[int]]:
        count = len(self.given(case, "src_tokens"))
        return [self.given(case, f"decoder_prompt_{i}").tolist() for i in range(count)]

    def image_size(self, index: int) -> tuple[int, int]:
        height, width = self.inputs[f"raw_image_{index}"].shape[:2]
        return int(height), int(width)


def compare(references: References) -> list[Comparison]:
    """Every reference tensor of a folder against ours.

    references (References): In fairseq's or the Hugging-Face naming. Where checkpoint_fp16.pt lies beside them it is loaded too; where
        GPT-2's files do, texts are tokenized.
    RETURNS (List[Comparison]): A tensor for which there is no rule counts as not held.
    """
    with torch.inference_mode():
        data = _Folder(references)
        rows = list(_buffers(data))
        rows += list(_preprocessing(data))
        rows += list(_training_rows(data))
        for name in sorted(data.outputs):
            rows.append(_compare_output(data, name))
        rows += list(_tokenization(data))
        rows += list(_half_precision(data))
    return rows


def _compare_output(data: _Folder, name: str) -> Comparison:
    case, _, kind = name.partition(".")
    want = data.outputs[name]
    for pattern, rule in _RULES:
        match = re.fullmatch(pattern, kind)
        if match and (not case.startswith(("vg_", "long", "loss_")) or rule in _ANSWER_RULES):
            return rule(data, name, case, want, *[int(group) for group in match.groups() if group is not None])
    return Comparison(name, math.nan, 0.0, False)


def _close(
    name: str, ours: torch.Tensor, want: torch.Tensor, tolerance: float = TOLERANCE, where: torch.Tensor | None = None
) -> Comparison:
    if ours.shape != want.shape:
        return Comparison(name, math.nan, tolerance, False)
    if ours.numel() == 0:
        return Comparison(name, 0.0, tolerance, True)
    ours, want = ours.double(), want.double()
    # Where both are minus infinity there is no difference.
    difference = torch.where(ours == want, torch.zeros_like(ours), (ours - want).abs())
    if where is not None:
        difference = difference[where]
    largest = float(difference.max()) if difference.numel() else 0.0
    return Comparison(name, largest, tolerance, largest <= tolerance)


def _equal(name: str, ours: Any, want: Any) -> Comparison:
    ours, want = torch.as_tensor(ours), torch.as_tensor(want)
    if ours.shape != want.shape:
        return Comparison(name, math.nan, 0.0, False)
    count = int((ours != want).sum())
    return Comparison(name, float(count), 0.0, count == 0)


def _encoder_state(data: _Folder, name: str, case: str, want: torch.Tensor, layer: int) -> Comparison:
    return _close(name, cast(list[torch.Tensor], data.encoded(case).layers)[layer], want, where=data.source_mask(case))


def _encoder_out(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    return _close(name, data.encoded(case).states, want, where=data.source_mask(case))


def _padding(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    return _equal(name, ~data.source_mask(case), want.bool())


def _positions(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    ours = data.encoded(case).positions
    return _close(name, ours.expand(want.shape[0], -1, -1), want, where=data.source_mask(case))


def _image(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    return _close(name, data.features(case), want)


def _decoder_state(data: _Folder, name: str, case: str, want: torch.Tensor, layer: int) -> Comparison:
    return _close(name, data.decoded(case)[1][layer], want, where=data.target_mask(case))


def _logits(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    return _close(name, data.decoded(case)[0], want, where=data.target_mask(case))


def _logits_last(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    """The last columns of the padded batch."""
    count = want.shape[1]
    return _close(name, data.decoded(case)[0][:, -count:], want, where=data.target_mask(case)[:, -count:])


def _label_scores(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    return _close(name, score_labels(data.network, data.encoded(case), data.prompts(case), data.trie(case)), want)


def _tokens(data: _Folder, name: str, case: str, want: torch.Tensor, index: int) -> Comparison:
    ours = data.answers(case)[index]
    if want.ndim == 1:
        return _equal(name, ours[0].tokens if ours else [], want)
    if len({len(answer.tokens) for answer in ours}) > 1:
        return Comparison(name, math.nan, 0.0, False)
    return _equal(name, [answer.tokens for answer in ours], want)


def _scores(data: _Folder, name: str, case: str, want: torch.Tensor, index: int) -> Comparison:
    ours = [answer.score for answer in data.answers(case)[index]]
    return _close(name, torch.tensor(ours if want.ndim else ours[0]), want)


def _step_scores(data: _Folder, name: str, case: str, want: torch.Tensor, index: int) -> Comparison:
    return _close(name, torch.tensor([answer.steps for answer in data.answers(case)[index]]), want)


def _bins(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    return _equal(name, [[token - data.network.config.bin_0 for token in best[0].tokens[:4]] for best in data.answers(case)], want)


def _our_boxes(data: _Folder, case: str) -> np.ndarray:
    config = data.network.config
    size = data.given("vg", "patch_images").shape[-1]
    boxes = []
    for i, best in enumerate(data.answers(case)):
        bins = [token - config.bin_0 for token in best[0].tokens[:4]]
        boxes.append(bins_to_box(bins, data.image_size(i), size=size, scale=data.scale, bins=config.bins))
    return np.stack(boxes)


def _boxes(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    return _close(name, torch.from_numpy(_our_boxes(data, case)), want, BOX_TOLERANCE)


def _accuracy(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    """Whether the box overlaps gold by half, with areas as the published code has them."""
    gold = data.given("vg", "region_coords").numpy()
    boxes = _our_boxes(data, case)
    low, high = np.maximum(boxes[:, :2], gold[:, :2]), np.minimum(boxes[:, 2:], gold[:, 2:])
    inter = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(gold[:, 2:] - gold[:, :2], axis=1) - inter
    right = (inter / area >= 0.5) & (high > low).all(axis=1)
    return _equal(name, right.astype("float32"), want)


def _loss_sum(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    return _close(name, _losses(data, case)[0].reshape(want.shape), want, LOSS_TOLERANCE)


def _nll_sum(data: _Folder, name: str, case: str, want: torch.Tensor) -> Comparison:
    return _close(name, _losses(data, case)[1].reshape(want.shape), want, LOSS_TOLERANCE)


def _losses(data: _Folder, case: str) -> tuple[torch.Tensor, torch.Tensor]:
    source = case.split("_")[1]
    target = data.given(source, "target")
    counts = target.ne(data.network.config.pad)
    masks = data.inputs.get(f"{source}.constraint_masks")
    smoothing = float(data.config["meta"][f"{case}.label_smoothing"])
    logits = data.decoded(source)[0][counts]
    allowed = None if masks is None else masks[counts]
    return smoothed_cross_entropy(logits, target[counts], smoothing=smoothing, allowed=allowed)


_RULES: list[tuple[str, Callable[..., Comparison]]] = [
    (r"encoder_state_(\d+)", _encoder_state),
    (r"encoder_out", _encoder_out),
    (r"(?:encoder_)?padding_mask", _padding),
    (r"position_embeddings?", _positions),
    (r"image_embed", _image),
    (r"decoder_state_(\d+)", _decoder_state),
    (r"logits", _logits),
    (r"logits_last", _logits_last),
    (r"scores", _label_scores),
    (r"(?:top_)?tokens_(\d+)", _tokens),
    (r"(?:top_)?scores?_(\d+)", _scores),
    (r"positional_scores_(\d+)", _step_scores),
    (r"bins", _bins),
    (r"boxes", _boxes),
    (r"acc50", _accuracy),
    (r"loss_sum", _loss_sum),
    (r"nll_sum", _nll_sum),
]
_ANSWER_RULES = {_tokens, _scores, _step_scores, _bins, _boxes, _accuracy, _loss_sum, _nll_sum}


def _buffers(data: _Folder) -> Iterator[Comparison]:
    """Tables that follow from the sizes: by checksum where the folder leaves them out, else value by value."""
    state = data.state
    parts = {"encoder": data.network.encoder, "decoder": data.network.decoder}
    for name, told in data.config.get("omitted_buffers", {}).items():
        part, _, buffer = name.partition(".")
        ours = getattr(parts[part], buffer).numpy().astype("<i8")
        same = hashlib.sha256(ours.tobytes()).hexdigest() == told["sha256"] and list(ours.shape) == told["shape"]
        yield Comparison(f"buffer {name}", 0.0 if same else math.nan, 0.0, same)
    for name in ("encoder.image_rp_bucket", "decoder.image_rp_bucket"):
        if name in state:
            yield _equal(f"buffer {name}", data.network.encoder.image_rp_bucket, state[name])


def _preprocessing(data: _Folder) -> Iterator[Comparison]:
    """Pictures and boxes from their originals, where the folder has these."""
    config = data.network.config
    count = sum(name.startswith("raw_image_") for name in data.inputs)
    for case in ("vg", "ve", "ve_multi"):
        if count and f"{case}.patch_images" in data.inputs:
            want = data.inputs[f"{case}.patch_images"]
            ours = torch.stack([to_pixels(data.inputs[f"raw_image_{i}"].numpy(), want.shape[-1]) for i in range(count)])
            yield _close(f"{case}.patch_images", ours, want, 1e-6)
    samples = data.config.get("samples", [])
    if count and len(samples) == count and "vg.target" in data.inputs:
        size = data.inputs["vg.patch_images"].shape[-1]
        bins = [
            box_to_bins(sample["box"], data.image_size(i), size=size, scale=data.scale, bins=config.bins)
            for i, sample in enumerate(samples)
        ]
        yield _equal("vg.target", torch.tensor(bins) + config.bin_0, data.inputs["vg.target"][:, :4])


def _training_rows(data: _Folder) -> Iterator[Comparison]:
    """What the decoder reads and should answer in fine-tuning."""
    config = data.network.config
    for case in ("vg", "ve", "ve_multi"):
        if f"{case}.target" not in data.inputs:
            continue
        want = data.inputs[f"{case}.target"]
        answers = [row[row.ne(config.pad)].tolist() for row in want]
        trie = None
        prompts = [[config.bos]] * len(want)
        if case != "vg":
            trie, prompts = data.trie(case), data.prompts(case)
            answers = [
                [*data.config["meta"][f"{case}.label_token_ids"][_label(sample)], config.eos] for sample in data.config["samples"]
            ]
        rows = [TargetRow([], prompt, answer) for prompt, answer in zip(prompts, answers)]
        previous, target, allowed = answer_tensors(rows, config.pad, trie, config.vocab_size)
        yield _equal(f"{case}.prev_output_tokens", previous, data.inputs[f"{case}.prev_output_tokens"])
        yield _equal(f"{case}.target rows", target, want)
        masks = data.inputs.get(f"{case}.constraint_masks")
        if allowed is not None and masks is not None:
            counts = want.ne(config.pad)
            yield _equal(f"{case}.constraint_masks", allowed[counts], masks[counts])


def _label(sample: dict[str, Any]) -> str:
    return "no" if sample["label"] == "contradiction" else "yes"


def _tokenization(data: _Folder) -> Iterator[Comparison]:
    """Texts: cleaning and prompts always; token ids where the vocabulary's files lie in the folder."""
    path = data.path / "tokenization.json"
    order = data.config.get("dictionary_gpt2_ids")
    has_bpe = (data.path / "encoder.json").is_file() and (data.path / "vocab.bpe").is_file()
    if path.is_file():
        content = srsly.read_json(path)
        cleaned = [row for row in content["rows"] if "pre_caption" in row]
        wrong = sum(clean_text(row["text"]) != row["pre_caption"] for row in cleaned)
        yield Comparison("tokenization pre_caption", float(wrong), 0.0, wrong == 0)
        wrong = sum(_row_prompt(row) != row["prompt"] for row in content["rows"])
        yield Comparison("tokenization prompt", float(wrong), 0.0, wrong == 0)
        if (has_bpe and (data.path / "dict.txt").is_file()) or (data.path / "vocab.json").is_file():
            tokenizer = OFATokenizer.from_folder(data.path, size=content["vocab_size"])
            wrong = sum(tokenizer.source(row["prompt"]) != row["source"] for row in content["rows"])
            yield Comparison("tokenization source", float(wrong), 0.0, wrong == 0)
    if has_bpe and order:
        tokenizer = OFATokenizer.from_folder(data.path, order=order, size=data.network.config.vocab_size)
        for case in ("vg", "ve"):
            wrong = 0
            for i, sample in enumerate(data.config["samples"]):
                texts = clean_text(sample["expression"]), clean_text(sample["caption"])
                ours = tokenizer.source(grounding_prompt(texts[0]) if case == "vg" else entailment_prompt(*texts))
                want = data.given(case, "src_tokens")[i]
                wrong += ours != want[want.ne(tokenizer.pad)].tolist()
            yield Comparison(f"{case}.src_tokens", float(wrong), 0.0, wrong == 0)


def _row_prompt(row: dict[str, Any]) -> str:
    if row["kind"] == "vg":
        return grounding_prompt(clean_text(row["text"]))
    if row["kind"] == "ve_plain":
        return entailment_prompt(clean_text(row["text"]))
    return entailment_prompt(clean_text(row["text1"]), clean_text(row["text2"]))


def _half_precision(data: _Folder) -> Iterator[Comparison]:
    """The same weights in fairseq's own container: equal to the others rounded to half precision."""
    path = data.path / "checkpoint_fp16.pt"
    if not path.is_file():
        return
    ours: Tensors = load_ofa(path).state_dict()
    want: Tensors = data.network.state_dict()
    worst = Comparison("checkpoint_fp16.pt", math.nan, 0.0, False)
    if set(ours) == set(want):
        wrong = [name for name in want if not torch.equal(ours[name], _rounded(want[name]))]
        worst = Comparison("checkpoint_fp16.pt", float(len(wrong)), 0.0, not wrong)
    yield worst


def _rounded(value: torch.Tensor) -> torch.Tensor:
    return value.half().float() if value.is_floating_point() else value
