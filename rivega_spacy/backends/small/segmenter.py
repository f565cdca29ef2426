"""`rivega.SmallSegmenter.v2`: the embedded segmenter, a box-prompted mask network that needs no model hub."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from thinc.api import Model

from ...pipes.queries import BoxedPicture, ScoredMasks
from ...post.boxes import clip_boxes
from ...post.errors import Errors, RivegaError
from ..backend import no_gradient
from ..crops import MARGIN, box_window, cut, jitter_box, paste, turned
from ..folding import channels_last
from ..shim import TorchShim, shim_of, torch_model
from ..weights import read_checkpoint
from .crop_runs import RunSettings, stacked_features, turned_back, with_mirrored
from .seeing_segmenter import SeeingMaskNetwork
from .weights import WHAT

# In training also the mask of each box, HxW bool.
TrainingPrompt = tuple[np.ndarray, np.ndarray, list[np.ndarray]]


@dataclass
class ThreadedSettings(RunSettings):
    """Also, in training, how many threads cut and colour crops."""

    threads: int = 1


def build_seeing_segmenter(
    size: int = 128,
    margin: float = MARGIN,
    widths: Sequence[int] = (32, 64, 128, 256),
    depths: Sequence[int] = (2, 2, 4, 3),
    fine: Sequence[int] = (48, 24),
    flip: bool = True,
    refine: bool = True,
    batch_size: int = 32,
    jitter: float = 0.05,
    rotation: float = 0.0,
    encoder_rate: float = 0.5,
    growth: Sequence[Sequence[int]] = (),
    threads: int = 1,
    bf16: bool = False,
    ema_decay: float = 0.998,
    seed: int = 0,
) -> Model[list[BoxedPicture], list[ScoredMasks]]:
    """Build the small box-prompted segmenter whose encoder is that of the small vision network, untrained.

    `[initialize.components.rivega_segmenter] encoder` names the weights of a trained vision network to start from.

    size (int): side of the square crops in pixels, a multiple of 32.
    margin (float): context around the box on each side, as a share of the box's side.
    widths (Sequence[int]), depths (Sequence[int]): channels and residual blocks of the encoder's stages, those of the vision
        network; stages may have fewer blocks.
    fine (Sequence[int]): channels of the decoder at 1/4 and 1/2 of the crop's resolution.
    flip (bool): also look at the mirrored crop and average; twice the time, a finer outline.
    refine (bool): move the outline to the edges that the picture has at its own resolution.
    batch_size (int): crops computed at once on a GPU or in bfloat16.
    jitter (float): in training, how far the sides of the boxes are moved, as a share of the side.
    rotation (float): in training, a third of the pictures is turned, by up to so many degrees either way.
    encoder_rate (float): learning rate of the encoder, as a share of that of the rest.
    growth (Sequence[Sequence[int]]): in training, from which step on the crops have which side: small ones first show the same
        objects in half the time. If empty, they have `size` throughout.
    threads (int): in training, how many cut and colour crops at the same time: more than one feeds a GPU.
    bf16 (bool): compute in bfloat16, in training and at run time: twice as fast on processors with instructions for it.
    ema_decay (float): moving average of the weights in training; 0 for none.
    seed (int): seed of the training augmentation.
    RETURNS (Model): called with (picture HxWx3 uint8, boxes n x 4) it predicts (mask HxW bool, score) for
        each box. In training, called with (picture, boxes, masks), it gives Nx3xSxS float32: logits, targets
        and weights of all crops, and takes back the gradient of the logits. `attrs["load_encoder"]` takes the
        vision network's encoder.
    """
    settings = {"size": size, "margin": margin, "widths": list(widths), "depths": list(depths), "fine": list(fine)}
    stages = [(start, side) for start, side in growth]
    run = ThreadedSettings(
        flip=flip,
        refine=refine,
        batch_size=batch_size,
        jitter=jitter,
        seed=seed,
        growth=stages,
        threads=threads,
        bf16=bf16,
        rotation=rotation,
    )
    rate = _EncoderRate(encoder_rate)
    model = _model("rivega.SmallSegmenter.v2", settings, _build_seeing, run, ema_decay=ema_decay, lr_scale=rate)
    model.attrs["load_encoder"] = _load_encoder
    return model


@dataclass
class _EncoderRate:
    """Learning-rate multiplier of a parameter by its name."""

    share: float

    def __call__(self, name: str) -> float:
        return self.share if name.startswith("encoder.") else 1.0


def _model(
    name: str,
    settings: dict[str, Any],
    build: Callable[[dict[str, Any]], torch.nn.Module],
    run: ThreadedSettings,
    *,
    ema_decay: float,
    lr_scale: Callable[[str], float] | None = None,
) -> Model[list[BoxedPicture], list[ScoredMasks]]:
    shim = TorchShim(
        build(settings), name=name, config=settings, build=build, ema_decay=ema_decay, lr_scale=lr_scale, running=("size", "margin")
    )
    return torch_model(name, shim, _forward, attrs={"run": run})


def _build_seeing(settings: dict[str, Any]) -> SeeingMaskNetwork:
    network = SeeingMaskNetwork(settings["widths"], settings["depths"], fine=settings["fine"])
    return channels_last(network)


def _load_encoder(model: Model, path: Path) -> None:
    """Start from the encoder of a trained small vision network.

    model (Model): what `build_seeing_segmenter` returned.
    path (Path): the network's .safetensors file.
    RAISES (RivegaError): E331 if there is no such file, E330 if its encoder does not fit.
    """
    if not Path(path).is_file():
        raise RivegaError(Errors.E331.format(path=path))
    shim = shim_of(model, TorchShim)
    cast(SeeingMaskNetwork, shim.module).take_encoder(read_checkpoint(path, what=WHAT), source=str(path))
    shim.set_module(shim.module)


def _forward(model: Model, prompts: Sequence[Any], is_train: bool) -> tuple[Any, Callable]:
    if is_train:
        return _train(model, prompts)
    return _predict(model, prompts), no_gradient


def _predict(model: Model, prompts: Sequence[BoxedPicture]) -> list[ScoredMasks]:
    shim = shim_of(model, TorchShim)
    size, margin = shim.cfg["size"], shim.cfg["margin"]
    crops, windows = [], []
    for image, boxes in prompts:
        picture = Image.fromarray(image)
        for box in clip_boxes(boxes, *image.shape[:2]):
            window = box_window(box, margin=margin)
            windows.append((window, box))
            crops.append((*cut(picture, window, size), box_aspect(box)))
    probabilities = _probabilities(model, crops)
    masks: list[ScoredMasks] = []
    start = 0
    for image, boxes in prompts:
        height, width = image.shape[:2]
        end = start + len(boxes)
        pairs = zip(probabilities[start:end], windows[start:end])
        guide = image if model.attrs["run"].refine else None
        masks.append([paste(p, window, box, height=height, width=width, image=guide) for p, (window, box) in pairs])
        start = end
    return masks


def _probabilities(model: Model, crops: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    shim = shim_of(model, TorchShim)
    run: ThreadedSettings = model.attrs["run"]
    size = shim.cfg["size"]
    done = [torch.zeros((0, size, size), device=shim.device)]
    for group in run.groups(crops, shim.device):
        # Colour statistics need single precision whatever the network computes in.
        features = _features(group, shim.device, shim.cfg["margin"])
        if run.flip:
            features = with_mirrored(features)
        with shim.inference(bf16=run.bf16, fold=True) as network:
            found = torch.sigmoid(network(features).float())
        if run.flip:
            found = turned_back(found)
        done.append(found)
    # Fetched once a batch, not once a crop: each time a GPU would be waited for.
    return torch.cat(done).cpu().numpy()


def _features(crops: Sequence[tuple[np.ndarray, np.ndarray, float]], device: torch.device, margin: float) -> torch.Tensor:
    colours, inside, aspects = zip(*crops)
    return stacked_features(colours, inside, aspects, device, margin)


def box_aspect(box: Sequence[float] | np.ndarray) -> float:
    """Logarithm of a box's width over its height."""
    return float(np.clip(np.log(max(box[2] - box[0], 1.0) / max(box[3] - box[1], 1.0)), -2.5, 2.5))


def _train(model: Model, prompts: Sequence[TrainingPrompt]) -> tuple[np.ndarray, Callable]:
    shim = shim_of(model, TorchShim)
    # A seed of its own for every step: a run is repeatable, no two steps are alike.
    run: ThreadedSettings = model.attrs["run"]
    rng = np.random.default_rng([run.seed, shim.steps, run.calls])
    size = run.training_size(shim.cfg["size"], shim.steps)
    run.calls += 1
    features, targets, weights = training_crops(
        prompts,
        size=size,
        margin=shim.cfg["margin"],
        jitter=run.jitter,
        rotation=run.rotation,
        rng=rng,
        device=shim.device,
        threads=run.threads,
    )
    network = shim.module
    network.train()
    # On a GPU the network runs in bfloat16; the loss needs single precision.
    with torch.enable_grad(), shim.autocast(run.bf16 or shim.device.type == "cuda"):
        logits = network(features).float()
    outputs = np.stack([logits.detach().cpu().numpy(), targets, weights], axis=1)

    def backprop(gradient: np.ndarray) -> list[Any]:
        logits.backward(gradient=torch.as_tensor(gradient, device=logits.device, dtype=logits.dtype))
        return []

    return outputs, backprop


def training_crops(
    prompts: Sequence[TrainingPrompt],
    *,
    size: int,
    jitter: float,
    rng: np.random.Generator,
    margin: float = MARGIN,
    rotation: float = 0.0,
    device: torch.device | None = None,
    threads: int = 1,
) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Cut and augment the crops of a training step: turned, boxes moved, mirrored, other light and colours, noise.

    prompts (Sequence[TrainingPrompt]): pictures, boxes and the mask of each box.
    size (int): side of the crops.
    jitter (float): standard deviation of the sides of a third of the boxes; twice that for a sixth, the others stay as they are.
    rng (Generator): source of chance.
    margin (float): context around the boxes, as a share of their sides.
    rotation (float): a third of the pictures is turned, by up to so many degrees either way.
    device (Optional[torch.device]): where the features go.
    threads (int): how many cut at the same time.
    RETURNS (Tuple[Tensor, ndarray, ndarray]): features NxFxSxS, targets NxSxS 0..1, weights NxSxS.
    """
    jobs = []
    for image, boxes, masks in prompts:
        picture = Image.fromarray(image)
        for box, mask in zip(clip_boxes(boxes, *image.shape[:2]), masks):
            # Chance of its own for every crop, so that threads change nothing.
            jobs.append((picture, box, mask, np.random.default_rng(rng.integers(2**63))))
    if not jobs:
        empty = np.zeros((0, size, size), dtype="float32")
        return torch.zeros((0, 0, size, size)), empty, empty
    make = partial(_training_crop, size=size, margin=margin, jitter=jitter, rotation=rotation)
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            made = list(pool.map(make, jobs))
    else:
        made = [make(job) for job in jobs]
    features = _features([crop for crop, _ in made], device or torch.device("cpu"), margin)
    weights = np.stack([inside for (_, inside, _), _ in made]).astype("float32")
    return features, np.stack([truth for _, truth in made]), weights


def _training_crop(
    job: tuple[Image.Image, np.ndarray, np.ndarray, np.random.Generator],
    *,
    size: int,
    margin: float,
    jitter: float,
    rotation: float,
) -> tuple[tuple[np.ndarray, np.ndarray, float], np.ndarray]:
    picture, box, mask, rng = job
    if rotation and rng.random() < 1 / 3:
        picture, box, mask = turned(picture, box, mask, rng.uniform(-rotation, rotation))
    draw = rng.random()
    if draw < 0.5:
        amount = jitter * (2 if draw < 1 / 6 else 1)
        box = clip_boxes(np.array([jitter_box(box, rng, amount=amount)]), picture.height, picture.width)[0]
    window = box_window(box, margin=margin)
    crop, inside = cut(picture, window, size)
    truth, _ = cut(Image.fromarray(mask.astype(np.uint8) * 255), window, size, fill=0)
    if rng.random() < 0.5:
        crop, inside, truth = crop[:, ::-1], inside[:, ::-1], truth[:, ::-1]
    return (recoloured(crop, rng), inside, box_aspect(box)), truth.astype("float32") / 255


def recoloured(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other brightness, contrast, saturation and tint, some noise."""
    values = crop.astype("float32")
    if rng.random() < 0.8:
        gain = rng.uniform(0.7, 1.35) * rng.uniform(0.92, 1.08, size=3)
        mean = values.mean((0, 1))
        values = (values - mean) * (gain * rng.uniform(0.8, 1.25)) + mean * gain
    if rng.random() < 0.5:
        grey = values.mean(2, keepdims=True)
        share = 0.0 if rng.random() < 0.15 else rng.uniform(0.4, 1.5)
        values = grey + (values - grey) * share
    if rng.random() < 0.3:
        values = values + rng.normal(0, rng.uniform(2, 10), size=values.shape)
    return np.clip(values, 0, 255).astype("uint8")
