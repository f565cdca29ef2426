"""Views of photographs as a frozen backbone sees them, kept on disk: a step of training then costs no more than the heads do.

A round holds one view of every photograph. Filling is resumable and may run beside the training of earlier rounds:

    rivega vision keep PHOTOS KEPT --rounds 5
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..backends.folding import channels_last
from ..backends.small.lite import ENDS, STAGES, Back, Front, published_weights, take_published
from ..backends.small.pictures import SEEN_SIZE, PreparedView, augmented, plain
from ..post.errors import Errors, RivegaError
from ..post.files import open_output, write_json
from .blanks import blank_picture
from .views import MOSAICS_UNTIL, PhotoViews, ViewSettings

logger = logging.getLogger(__name__)
# Pictures that show nothing, a round, beside the photographs.
BLANK_SHARE = 0.03
# Sets of pictures of what is written.
WRITTEN = ("flickrlogos27", "shop_signs", "road_signs")


@dataclass(frozen=True)
class KeptSettings(ViewSettings):
    """How kept views are made; see also ViewSettings, of which `sizes` has no effect.

    side (int): Side of the input.
    rounds (int): Views of each photograph.
    mirrored (float): Share of views that are mirrored when they are read.
    """

    side: int = SEEN_SIZE
    rounds: int = 4
    mirrored: float = 0.25


class KeptTargets(NamedTuple):
    """What is to be found in a view; see PreparedView."""

    boxes: np.ndarray
    owner: np.ndarray
    hard: np.ndarray
    status: np.ndarray


def pack(targets: Sequence[KeptTargets]) -> dict[str, np.ndarray]:
    """The targets of a round, one behind the other, as arrays for a file."""
    stacked = {name: np.concatenate([getattr(each, name) for each in targets]) for name in ("boxes", "owner", "hard")}
    counts = np.array([len(each.boxes) for each in targets], np.int64)
    return {**stacked, "count": counts, "status": np.stack([each.status for each in targets])}


def unpack(stored: dict[str, np.ndarray]) -> list[KeptTargets]:
    """What `pack` was given. RAISES (ValueError): If the arrays do not belong together."""
    count, owner, status = stored["count"], stored["owner"], stored["status"]
    if count.ndim != 1 or not np.issubdtype(count.dtype, np.integer) or (count < 0).any():
        raise ValueError("count does not fit")
    total, kinds = int(count.sum()), status.shape[-1]
    shapes = {"boxes": (total, 4), "owner": (total,), "hard": (total,), "status": (len(count), kinds)}
    wrong = [name for name, shape in shapes.items() if stored[name].shape != shape]
    if wrong or not np.issubdtype(owner.dtype, np.integer) or (owner < 0).any() or (owner >= kinds).any():
        raise ValueError(f"{wrong[0] if wrong else 'owner'} does not fit")
    ends = np.cumsum(stored["count"])[:-1]
    boxes, owners, hard = (np.split(stored[name], ends) for name in ("boxes", "owner", "hard"))
    return [KeptTargets(*each) for each in zip(boxes, owners, hard, stored["status"])]


class KeptViews(PhotoViews):
    """PhotoViews whose views come from disk.

    folder (Path): Photos (see `read_photos`).
    kept (Path): Where the views are kept.
    settings (KeptSettings): How views are made.
    """

    settings: KeptSettings

    def __init__(self, folder: Path, kept: Path, settings: KeptSettings) -> None:
        super().__init__(folder, settings)
        self.kept = Path(kept)
        self.blanks = max(1, round(BLANK_SHARE * len(self.photos)))
        self.shapes = [(STAGES[end][0], settings.side // stride, settings.side // stride) for end, stride in zip(ENDS, (8, 16, 32))]
        self._rows: dict[int, np.ndarray] = {}
        self._targets: dict[int, list[KeptTargets]] = {}

    @property
    def values(self) -> int:
        """int: Numbers in a view."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def fill(self, *, first: int = 0, bf16: bool = False, batch: int = 4) -> None:
        """Make what is missing.

        first (int): Start with this round: several processes may fill rounds of their own.
        bf16 (bool): Run the backbone in bfloat16.
        batch (int): Views at a time.
        RAISES (RivegaError): E352 if the folder holds views of other photographs or settings.
        """
        self.kept.mkdir(parents=True, exist_ok=True)
        mark = self.kept / "settings.json"
        own = {"settings": self._mark(), "photos": len(self.photos)}
        if mark.exists() and _settings(mark) != own:
            raise RivegaError(Errors.E352.format(folder=self.kept))
        write_json(mark, own)
        front, back = Front(), Back()
        take_published(front, back, published_weights())
        parts = [channels_last(part).eval() for part in (front, back)]
        for number in range(first, self.settings.rounds):
            if not self._done(number).exists():
                self._fill_round(number, parts, bf16, batch)

    def _mark(self) -> str:
        made = [
            self.settings.side,
            self.settings.mosaic,
            self.settings.seed,
            self.kinds,
            [f"{p.source}{p.id}" for p in self.photos],
        ]
        return hashlib.blake2b(json.dumps(made).encode("utf8"), digest_size=12).hexdigest()

    def _done(self, number: int) -> Path:
        return self.kept / f"round-{number}.safetensors"

    def _fill_round(self, number: int, parts: Sequence[torch.nn.Module], bf16: bool, batch: int) -> None:
        count = len(self.photos) + self.blanks
        rows = np.lib.format.open_memmap(self.kept / f"round-{number}.npy", "w+", np.float16, (count, self.values))
        targets: list[KeptTargets] = []
        for start in range(0, count, batch):
            views = [self.view(number, place) for place in range(start, min(start + batch, count))]
            pixels = torch.from_numpy(np.stack([view.pixels for view in views])).permute(0, 3, 1, 2)
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                maps = [part.float() for part in parts[1](parts[0](pixels))]
            for place, view in enumerate(views):
                rows[start + place] = np.concatenate([part[place].numpy().astype(np.float16).ravel() for part in maps])
                targets.append(KeptTargets(view.boxes, view.owner, view.hard, view.status))
            if start // batch % 500 == 0:
                logger.info("round %d: %d of %d", number, start, count)
        rows.flush()
        with open_output(self._done(number), binary=True) as out:
            out.write(save(pack(targets)))

    def view(self, number: int, place: int) -> PreparedView:
        """A view as pixels: of the first round the whole photograph, of the others a random part of it, or a mosaic.

        number (int): The round.
        place (int): Which photograph; beyond the last, a picture of nothing.
        RETURNS (PreparedView): The view.
        """
        rng = np.random.default_rng((self.settings.seed, number, place))
        side = self.settings.side
        if place >= len(self.photos):
            return augmented([blank_picture(len(self.kinds), rng)], side, rng)
        if number == 0:
            return plain(self.read(place), side)
        count = 4 if rng.random() < self.settings.mosaic else 1
        others = rng.choice(len(self.photos), count - 1, p=self.chance)
        return augmented([self.read(place), *(self.read(int(i)) for i in others)], side, rng)

    def batch(self, step: int, progress: float) -> list[PreparedView]:
        """The views of a step, as maps.

        step (int): Which.
        progress (float): Share of the training that is done, 0..1; at the end whole photographs are drawn more often.
        RETURNS (List[PreparedView]): `settings.batch` views.
        """
        rng = np.random.default_rng((self.settings.seed, step))
        whole = 1.0 / self.settings.rounds if progress < MOSAICS_UNTIL else 0.5
        views = []
        for _ in range(self.settings.batch):
            number = 0 if rng.random() < whole or self.settings.rounds == 1 else int(rng.integers(1, self.settings.rounds))
            if rng.random() < self.settings.blanks:
                place = len(self.photos) + int(rng.integers(self.blanks))
            else:
                place = int(rng.choice(len(self.photos), p=self.chance))
            view = self._load(number, place)
            # Signs are not read from right to left.
            turn = rng.random() < self.settings.mirrored and self.mirrors(place)
            views.append(mirrored(view) if turn else view)
        return views

    def mirrors(self, place: int) -> bool:
        """Whether a photograph may be mirrored."""
        return place >= len(self.photos) or self.photos[place].source not in WRITTEN

    def _open(self, number: int) -> None:
        """Open a round. RAISES (RivegaError): E730 if its files are none that `fill` wrote."""
        path = self.kept / f"round-{number}.npy"
        count = len(self.photos) + self.blanks
        try:
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
            if rows.shape != (count, self.values) or rows.dtype != np.float16:
                raise ValueError(f"it has {rows.dtype} {rows.shape}, not float16 {(count, self.values)}")
            path = self._done(number)
            targets = unpack(load_file(path))
            if len(targets) != count:
                raise ValueError(f"it is of {len(targets)} views, not of {count}")
        except (ValueError, KeyError, EOFError, OSError, SafetensorError) as error:
            raise RivegaError(Errors.E730.format(path=path, what="a round of kept views", reason=error)) from error
        self._rows[number], self._targets[number] = rows, targets

    def _load(self, number: int, place: int) -> PreparedView:
        if number not in self._rows:
            self._open(number)
        row, maps, start = self._rows[number][place], [], 0
        for shape in self.shapes:
            size = int(np.prod(shape))
            maps.append(np.array(row[start : start + size]).reshape(shape))
            start += size
        side = self.settings.side
        # The pixels are not needed any more, only how many they are.
        pixels = np.broadcast_to(np.zeros((), np.uint8), (side, side, 3))
        return PreparedView(pixels, *self._targets[number][place], tuple(maps))


def _settings(path: Path) -> Any:
    """What views were kept with. RAISES (RivegaError): E730."""
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RivegaError(Errors.E730.format(path=path, what="the settings of kept views", reason=error)) from error


def mirrored(view: PreparedView) -> PreparedView:
    """A view mirrored, by its maps: nearly what the backbone makes of the mirror image (cosines of .66, .78 and .95 at the three strides).

    view (PreparedView): With maps.
    RETURNS (PreparedView): Mirrored.
    """
    maps = tuple(np.ascontiguousarray(part[:, :, ::-1]) for part in view.maps)
    side, boxes = view.pixels.shape[1], view.boxes
    if len(boxes):
        boxes = np.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], axis=1)
    return PreparedView(view.pixels, boxes, view.owner, view.hard, view.status, maps)
