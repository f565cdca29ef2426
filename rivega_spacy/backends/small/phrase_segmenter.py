"""`rivega.SmallSegmenter.v3`: the embedded segmenter that is told, by box and phrase, which of several things is meant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from thinc.api import Model

from ...pipes.queries import BoxPrompt, ScoredMasks
from ...post.boxes import clip_boxes
from ...post.errors import Errors, RivegaError
from ...post.expressions import Expression
from ..backend import no_gradient
from ..crops import MARGIN, CropWindow, box_window, cut, paste
from ..folding import channels_last
from ..shim import TorchShim, saved_weights, shim_of, torch_model
from ..weights import read_checkpoint
from .crop_runs import RunSettings, stacked_features, turned_back, with_mirrored
from .lite import LAST_STAGES
from .mask_crops import Crop, training_crop
from .phrase_mask_network import PhraseMaskNetwork
from .weights import WHAT, vocabulary_sizes

# The backbone has seen a hundred times as many photographs as there are masks: it is to change slowly.
BACKBONE_RATE = 0.15
# Weight of the score's loss beside that of the mask.
SCORE_WEIGHT = 0.3
# What of the state of a vision network the segmenter begins with.
TAKEN = ("text.", "front.", "back.stages.")


@dataclass
class PhraseSettings(RunSettings):
    """Also, in training, for what share of the things another is pasted in front, and no phrase is given."""

    pasted: float = 0.0
    unnamed: float = 0.0


def build_phrase_segmenter(
    size: int = 160,
    margin: float = MARGIN,
    middle: int = 160,
    width: int = 96,
    fine: Sequence[int] = (48, 24),
    depth: int = 3,
    phrase_width: int = 128,
    word_width: int = 96,
    flip: bool = False,
    refine: bool = True,
    batch_size: int = 32,
    jitter: float = 0.05,
    rotation: float = 20.0,
    pasted: float = 0.25,
    unnamed: float = 0.3,
    trained_stages: int = 4,
    growth: Sequence[Sequence[int]] = (),
    bf16: bool = False,
    ema_decay: float = 0.998,
    seed: int = 0,
) -> Model[list[BoxPrompt], list[ScoredMasks]]:
    """Build the small segmenter that reads the phrase beside the box, on a backbone that has seen ImageNet.

    `[initialize.components.rivega_segmenter] encoder` names the weights of a trained `rivega.SmallGrounder.v2` or
    `rivega.SmallEntailment.v2`: backbone and text side are taken from there.

    size (int): side of the square crops in pixels, a multiple of 32.
    margin (float): context around the box on each side, as a share of the box's side.
    middle (int), width (int), fine (Sequence[int]), depth (int), phrase_width (int), word_width (int): sizes; see PhraseMaskNetwork.
    flip (bool): also look at the mirrored crop and average; twice the time, a finer outline.
    refine (bool): move the outline to the edges that the picture has at its own resolution.
    batch_size (int): crops computed at once on a GPU or in bfloat16.
    jitter (float): in training, how far the sides of the boxes are moved, as a share of the side; some are moved four times as far.
    rotation (float): in training, a third of the pictures is turned, by up to so many degrees either way.
    pasted (float): in training, to this share of the things another one is pasted in front.
    unnamed (float): in training, for this share of the things no phrase is given, so that boxes alone do too.
    trained_stages (int): how many of the backbone's last stages, 0 to 4, learn along, at 0.15 of the learning rate.
    growth (Sequence[Sequence[int]]): in training, from which step on the crops have which side. If empty, `size` throughout.
    bf16 (bool): compute in bfloat16, in training and at run time.
    ema_decay (float): moving average of the weights in training; 0 for none.
    seed (int): seed of the training augmentation.
    RETURNS (Model): called with `BoxPrompt`s it predicts (mask HxW bool, score) for each box; the score is the intersection over
        union with the right mask that it expects. In training it gives Nx3xSxS float32: logits, targets and weights of all crops, and
        takes back the gradient of the logits; the score learns along.
    RAISES (RivegaError): E921 for another number of stages.
    """
    if trained_stages not in range(LAST_STAGES + 1):
        raise RivegaError(Errors.E921.format(stages=trained_stages, most=LAST_STAGES))
    settings = {
        "size": size,
        "margin": margin,
        "middle": middle,
        "width": width,
        "fine": list(fine),
        "depth": depth,
        "phrase_width": phrase_width,
        "word_width": word_width,
    }
    run = PhraseSettings(
        flip=flip,
        batch_size=batch_size,
        refine=refine,
        growth=[(start, side) for start, side in growth],
        bf16=bf16,
        jitter=jitter,
        rotation=rotation,
        pasted=pasted,
        unnamed=unnamed,
        seed=seed,
    )
    name = "rivega.SmallSegmenter.v3"
    shim = TorchShim(
        _build(settings),
        name=name,
        config=settings,
        build=_build,
        ema_decay=ema_decay,
        lr_scale=_rate,
        running=("size", "margin"),
    )
    attrs = {"run": run, "reads_phrases": True, "load_encoder": load_vision, "trained_stages": trained_stages}
    return torch_model(name, shim, _forward, attrs=attrs)


def _rate(name: str) -> float:
    return BACKBONE_RATE if name.startswith("back.") else 1.0


def _build(settings: dict[str, Any]) -> PhraseMaskNetwork:
    return channels_last(PhraseMaskNetwork(**{key: value for key, value in settings.items() if key not in ("size", "margin")}))


def load_vision(model: Model, path: Path) -> None:
    """Start from backbone and text side of a trained vision network.

    model (Model): what `build_phrase_segmenter` returned.
    path (Path): a .safetensors file of the network, or the file `model` of a pipeline's `rivega_grounder` or `rivega_entailment`.
    RAISES (RivegaError): E331 if there is no such file, E730 if it is none of weights, E330 if it does not fit.
    """
    if not Path(path).is_file():
        raise RivegaError(Errors.E331.format(path=path))
    state = {name: value for name, value in _vision_state(Path(path)).items() if name.startswith(TAKEN)}
    shim = shim_of(model, TorchShim)
    network = _build({**shim.cfg, **vocabulary_sizes(state)})
    own = {name: value for name, value in network.state_dict().items() if name.startswith(TAKEN)}
    unfit = [name for name, value in own.items() if name not in state or state[name].shape != value.shape]
    if unfit:
        raise RivegaError(Errors.E330.format(source=path, names=", ".join(unfit[:5]), count=len(unfit)))
    network.load_state_dict({name: state[name].to(value.dtype) for name, value in own.items()}, strict=False)
    shim.set_module(network, {**shim.cfg, **vocabulary_sizes(state)})


def _vision_state(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return cast(dict[str, torch.Tensor], read_checkpoint(path, what=WHAT))
    try:
        return saved_weights(path.read_bytes())
    except ValueError as error:
        raise RivegaError(Errors.E730.format(path=path, what=WHAT, reason=error)) from error


def _forward(model: Model, prompts: Sequence[BoxPrompt], is_train: bool) -> tuple[Any, Callable]:
    if is_train:
        return _train(model, prompts)
    # A bare pair of picture and boxes says nothing of what is meant.
    return _predict(model, [BoxPrompt(*prompt) for prompt in prompts]), no_gradient


def _predict(model: Model, prompts: Sequence[BoxPrompt]) -> list[ScoredMasks]:
    shim = shim_of(model, TorchShim)
    size, margin = shim.cfg["size"], shim.cfg["margin"]
    crops: list[Crop] = []
    windows: list[tuple[CropWindow, Any]] = []
    for prompt in prompts:
        picture = Image.fromarray(prompt.image)
        boxes = clip_boxes(prompt.boxes, *prompt.image.shape[:2])
        for number, box in enumerate(boxes):
            window = box_window(box, margin=margin)
            windows.append((window, box))
            colours, inside = cut(picture, window, size)
            crops.append(Crop(colours, inside, box, window, prompt.others_of(number), prompt.expression_of(number)))
    probabilities, scores = _probabilities(model, crops)
    masks: list[ScoredMasks] = []
    start = 0
    for prompt in prompts:
        height, width = prompt.image.shape[:2]
        guide = prompt.image if model.attrs["run"].refine else None
        found = []
        for place in range(start, start + len(prompt.boxes)):
            window, box = windows[place]
            mask, _ = paste(probabilities[place], window, box, height=height, width=width, image=guide)
            found.append((mask, float(scores[place])))
        masks.append(found)
        start += len(prompt.boxes)
    return masks


def _probabilities(model: Model, crops: Sequence[Crop]) -> tuple[np.ndarray, np.ndarray]:
    shim = shim_of(model, TorchShim)
    run: PhraseSettings = model.attrs["run"]
    size = shim.cfg["size"]
    done = [torch.zeros((0, size, size), device=shim.device)]
    scores = [torch.zeros(0, device=shim.device)]
    for part in run.groups(crops, shim.device):
        # Colour statistics need single precision whatever the network computes in.
        features = crops_features(part, shim.device, shim.cfg["margin"])
        if run.flip:
            features = with_mirrored(features)
        with shim.inference(bf16=run.bf16, fold=True) as module:
            network = cast(PhraseMaskNetwork, module)
            phrases = network.phrases([crop.expression for crop in part])
            logits, score = network(features, torch.cat([phrases, phrases]) if run.flip else phrases)
            found, score = torch.sigmoid(logits.float()), torch.sigmoid(score.float())
        if run.flip:
            found, score = turned_back(found), sum(score.chunk(2)) / 2
        done.append(found)
        scores.append(score)
    # Fetched once a batch, not once a crop: each time a GPU would be waited for.
    return torch.cat(done).cpu().numpy(), torch.cat(scores).cpu().numpy()


def crops_features(crops: Sequence[Crop], device: torch.device, margin: float) -> torch.Tensor:
    """What the network sees of crops: N x (FEATURES + 1) x S x S float32, the boxes of other things last."""
    own = stacked_features(
        [crop.colours for crop in crops], [crop.inside for crop in crops], [crop.aspect for crop in crops], device, margin
    )
    others = torch.from_numpy(np.stack([crop.others_plane() for crop in crops])).to(device)
    return torch.cat([own, others[:, None]], dim=1)


def _train(model: Model, prompts: Sequence[BoxPrompt]) -> tuple[np.ndarray, Callable]:
    shim = shim_of(model, TorchShim)
    # A seed of its own for every step: a run is repeatable, no two steps are alike.
    run: PhraseSettings = model.attrs["run"]
    rng = np.random.default_rng([run.seed, shim.steps, run.calls])
    run.calls += 1
    size, margin = run.training_size(shim.cfg["size"], shim.steps), shim.cfg["margin"]
    jobs = [
        (Image.fromarray(prompt.image), box, mask, prompt.expression_of(number), prompt.others_of(number))
        for prompt in prompts
        for number, (box, mask) in enumerate(zip(clip_boxes(prompt.boxes, *prompt.image.shape[:2]), prompt.masks))
    ]
    if not jobs:
        return np.zeros((0, 3, size, size), dtype="float32"), no_gradient
    network = cast(PhraseMaskNetwork, shim.module)
    network.train()
    network.train_stages(model.attrs["trained_stages"])
    crops = []
    for job in jobs:
        donor = jobs[int(rng.integers(len(jobs)))] if rng.random() < run.pasted else None
        crops.append(training_crop(*job, donor=donor, size=size, margin=margin, jitter=run.jitter, rotation=run.rotation, rng=rng))
    expressions = [crop.expression if rng.random() >= run.unnamed else None for crop in crops]
    wrong = _wrong_phrases(network, expressions, rng)
    features = crops_features(crops, shim.device, margin)
    targets = np.stack([crop.truth for crop in crops])
    weights = np.stack([crop.inside * (number not in wrong) for number, crop in enumerate(crops)]).astype("float32")
    area = torch.tensor([crop.area for crop in crops], device=shim.device)
    # On a GPU the network runs in bfloat16; the loss needs single precision.
    with torch.enable_grad(), shim.autocast(run.bf16 or shim.device.type == "cuda"):
        phrases = network.phrases([wrong.get(number, expression) for number, expression in enumerate(expressions)])
        logits, score = network(features, phrases)
    logits, score = logits.float(), score.float()
    with torch.enable_grad():
        reached = _reached(logits, torch.from_numpy(targets).to(logits), features[:, 4] > 0, area)
        reached = reached * torch.tensor([number not in wrong for number in range(len(crops))], device=reached.device)
        score_loss = SCORE_WEIGHT * torch.nn.functional.binary_cross_entropy_with_logits(score, reached)
    outputs = np.stack([logits.detach().cpu().numpy(), targets, weights], axis=1)

    def backprop(gradient: np.ndarray) -> list[Any]:
        given = torch.as_tensor(gradient, device=logits.device, dtype=logits.dtype)
        torch.autograd.backward([logits, score_loss], [given, torch.ones_like(score_loss)])
        return []

    return outputs, backprop


# How many crops in training get the phrase of another thing, and how unlike (cosine of phrase vectors) the two have to be.
WRONG, UNLIKE = 0.1, 0.4


def _wrong_phrases(
    network: PhraseMaskNetwork, expressions: Sequence[Expression | None], rng: np.random.Generator
) -> dict[int, Expression | None]:
    """For some crops a phrase that means something else: the score learns that such a mask is not what was meant."""
    said = [number for number, expression in enumerate(expressions) if expression is not None]
    picked = [number for number in said if rng.random() < WRONG]
    if not picked:
        return {}
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(network.phrases([expressions[number] for number in said]).float(), dim=1)
    alike = (vectors @ vectors.T).cpu().numpy()
    wrong: dict[int, Expression | None] = {}
    for number in picked:
        unlike = np.flatnonzero(alike[said.index(number)] < UNLIKE)
        if len(unlike):
            wrong[number] = expressions[said[int(rng.choice(unlike))]]
    return wrong


def _reached(logits: torch.Tensor, truth: torch.Tensor, known: torch.Tensor, area: torch.Tensor) -> torch.Tensor:
    """IoU of each mask as it would be drawn with the whole thing, of which the crop may show a part only."""
    chosen = ((logits.detach() > 0) & known).float()
    shared = (chosen * truth).sum((1, 2))
    return shared / (chosen.sum((1, 2)) + torch.maximum(area, truth.sum((1, 2))) - shared).clamp(min=1.0)
