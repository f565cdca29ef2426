"""What the small network is trained on: batches of views of photographs, each a pure function of seed and step.

Since nothing but the step decides what a batch holds, a run that is resumed sees what it would have seen, and any number of
worker processes can prepare batches ahead.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ..backends.small.phrases.bank import load_bank
from ..backends.small.pictures import LabelledPicture, PreparedView, augmented
from ..post.images import read_image
from .blanks import blank_picture
from .photos import Photo, keys_of, read_photos

# How often a data set's photos are drawn in an epoch: more often where they teach many kinds or several things at once, less where
# they are alike.
SHARE = {
    "voc": 1.0,
    "voc2012": 1.0,
    "ccp": 0.35,
    "coco": 2.0,
    "coco_lightly": 2.0,
    "ecssd": 2.0,
    "sod_bsd": 2.0,
    "gulshan151": 1.5,
    "davis16": 0.5,
    "football_match": 0.8,
    "camvid_streets": 0.5,
    "human290": 0.7,
    "caltech101_cutouts": 0.5,
    "places_by_eye": 4.0,
    "flickrlogos27": 1.0,
    "shop_signs": 0.7,
    "road_signs": 0.7,
    "fod_tools": 0.4,
    "imagenet_1000": 0.5,
    "caltech101_photos": 1.0,
    "grocery": 0.6,
}
# The last fifth of training sees whole photos as they will come: mosaics end.
MOSAICS_UNTIL = 0.8


@dataclass(frozen=True)
class ViewSettings:
    """How views are made.

    batch (int): Views a step.
    sizes (Sequence[Tuple[float, int]]): From which share of the training on which input side is used.
    mosaic (float): Share of mosaics of four photos.
    blanks (float): Share of pictures that show nothing at all.
    seed (int): Of all chance.
    """

    batch: int = 20
    sizes: Sequence[tuple[float, int]] = ((0.0, 128), (0.65, 160))
    mosaic: float = 0.15
    blanks: float = 0.04
    seed: int = 0

    def size(self, progress: float) -> int:
        """Side of the input when a share of the training is done."""
        return [size for start, size in self.sizes if progress >= start][-1]


class PhotoViews(Dataset):
    """Views of the training photos, with every kind of thing as a key.

    folder (Path): Photos (see `read_photos`).
    settings (ViewSettings): How views are made.
    """

    def __init__(self, folder: Path, settings: ViewSettings) -> None:
        self.settings = settings
        bank = load_bank()
        self.kinds = bank.all_kinds
        self.photos = read_photos(folder, "train", bank=bank)
        share = np.array([SHARE[photo.source] for photo in self.photos])
        self.chance = share / share.sum()
        self.per_epoch = max(1, int(share.sum()) // settings.batch)
        self._pictures: list[LabelledPicture | None] = [None] * len(self.photos)

    def __getitem__(self, place: tuple[int, float]) -> list[PreparedView]:
        return self.batch(*place)

    def batch(self, step: int, progress: float) -> list[PreparedView]:
        """The views of a step.

        step (int): Which.
        progress (float): Share of the training that is done, 0..1.
        RETURNS (List[PreparedView]): `settings.batch` views of one size.
        """
        settings, rng = self.settings, np.random.default_rng((self.settings.seed, step))
        size = settings.size(progress)
        mosaic = settings.mosaic if progress < MOSAICS_UNTIL else 0.0
        views: list[PreparedView] = []
        for _ in range(settings.batch):
            if rng.random() < settings.blanks:
                views.append(augmented([blank_picture(len(self.kinds), rng)], size, rng))
                continue
            count = 4 if rng.random() < mosaic else 1
            views.append(augmented([self.picture(i) for i in rng.choice(len(self.photos), count, p=self.chance)], size, rng))
        return views

    def picture(self, number: int) -> LabelledPicture:
        """A photo, decoded once and kept: they all fit into a gigabyte."""
        found = self._pictures[number]
        if found is None:
            found = self._pictures[number] = to_picture(self.photos[number], self.kinds)
        return found

    def read(self, number: int) -> LabelledPicture:
        """A photo, decoded anew."""
        return to_picture(self.photos[number], self.kinds)

    def stream(self, places: Callable[[], Iterator[tuple[int, float]]], *, workers: int = 0) -> Iterator[list[PreparedView]]:
        """Batches one after the other, prepared ahead by worker processes if there are any.

        places (Callable): Gives the steps to come, each with the progress at it.
        workers (int): Processes; 0 prepares each batch when it is asked for.
        YIELDS (List[PreparedView]): The views of a step.
        """
        if workers:
            # Decoded before the processes part, the pictures are shared by them.
            for number in range(len(self.photos)):
                self.picture(number)
        yield from DataLoader(self, sampler=_Places(places), batch_size=None, num_workers=workers, collate_fn=_unchanged)


@dataclass
class _Places:
    make: Callable[[], Iterator[tuple[int, float]]]

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return self.make()


def _unchanged(views: list[PreparedView]) -> list[PreparedView]:
    return views


def to_picture(photo: Photo, kinds: Sequence[str]) -> LabelledPicture:
    """A photo with every kind (and group of kinds) as a key.

    photo (Photo): The photo; it is decoded here.
    kinds (Sequence[str]): The keys.
    RETURNS (LabelledPicture): What augmentation takes.
    """
    image = Image.fromarray(read_image(photo.path))
    place = {kind: key for key, kind in enumerate(kinds)}
    pairs = [(place[key], row) for row, own in enumerate(photo.kinds) for key in keys_of(own) if key in place]
    pairs.sort(key=lambda pair: pair[0])
    owner, rows = [key for key, _ in pairs], [row for _, row in pairs]
    maybe = photo.maybe_shown
    known = np.array([kind not in maybe for kind in kinds])
    labels = tuple(place[key] for own in photo.labels for key in keys_of(own) if key in place)
    return LabelledPicture(image, photo.boxes[rows], np.array(owner, np.int64), photo.hard[rows], known, labels=labels)
