"""rivega.PhotoViews.v1: the augmented, dense training of the small vision network as a reader for `spacy train`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..backends.small.dense_view import DenseView
from ..backends.small.pictures import SEEN_SIZE
from ..pipes.queries import VIEW_KEY
from .checkpoints import steps_done
from .dense import DenseAsker
from .kept import KeptSettings, KeptViews
from .views import PhotoViews, ViewSettings


def make_photo_views(
    path: str,
    steps: int,
    batch: int = 20,
    sizes: list[list[float]] | None = None,
    mosaic: float = 0.15,
    blanks: float = 0.04,
    workers: int = 0,
    checkpoint: str | None = None,
    seed: int = 0,
) -> "PhotoViewCorpus":
    """Views of the training photographs: crops, stretches, mosaics, mirrored, in other colours, and pictures of nothing.

    path (str): Folder with voc*/, ccp*/ and coco*/.
    steps (int): Steps of the whole training, by which `sizes` is read; mosaics end after four fifths of them.
    batch (int): Views a step: the batcher must make batches of as many.
    sizes (Optional[List[List[float]]]): From which share of the training on which input side is used; by default 128 pixels, from
        0.65 on 160.
    mosaic (float): Share of mosaics of four photos.
    blanks (float): Share of pictures that show nothing at all.
    workers (int): Processes that prepare views ahead, for a GPU; 0 prepares them between the steps.
    checkpoint (Optional[str]): Folder of `rivega.Checkpoints.v1`: a resumed run goes on with the views that come next.
    seed (int): Of all chance.
    RETURNS (PhotoViewCorpus): Called with the pipeline, it yields examples.
    """
    options: dict[str, Any] = {"batch": batch, "mosaic": mosaic, "blanks": blanks, "seed": seed}
    if sizes is not None:
        options["sizes"] = [(start, int(side)) for start, side in sizes]
    return PhotoViewCorpus(Path(path), ViewSettings(**options), steps=steps, workers=workers, checkpoint=checkpoint)


def make_kept_views(
    path: str,
    kept: str,
    steps: int,
    batch: int = 24,
    side: int = SEEN_SIZE,
    rounds: int = 4,
    mirrored: float = 0.25,
    mosaic: float = 0.15,
    blanks: float = 0.04,
    bf16: bool = False,
    checkpoint: str | None = None,
    seed: int = 0,
) -> "PhotoViewCorpus":
    """`rivega.PhotoViews.v2`: views as the frozen backbone of `rivega.SmallGrounder.v2` sees them, made once and kept on disk.

    path (str): Folder with the photographs (see `read_photos`).
    kept (str): Folder for the views: 228 KB each at 288 pixels. What is missing there is made before training starts.
    steps (int): Steps of the whole training; for the last fifth of them whole photographs are drawn more often.
    batch (int): Views a step: the batcher must make batches of as many.
    side (int): Side of the input, pixels, a multiple of 32.
    rounds (int): Views of each photograph: the whole one, and random parts of it.
    mirrored (float): Share of views that are mirrored when they are read.
    mosaic (float): Share of mosaics of four photos.
    blanks (float): Share of pictures that show nothing at all.
    bf16 (bool): Run the backbone in bfloat16.
    checkpoint (Optional[str]): Folder of `rivega.Checkpoints.v1`: a resumed run goes on with the views that come next.
    seed (int): Of all chance.
    RETURNS (PhotoViewCorpus): Called with the pipeline, it yields examples.
    """
    settings = KeptSettings(batch=batch, mosaic=mosaic, blanks=blanks, seed=seed, side=side, rounds=rounds, mirrored=mirrored)
    return PhotoViewCorpus(Path(path), settings, steps=steps, checkpoint=checkpoint, kept=Path(kept), bf16=bf16)


class PhotoViewCorpus:
    """Each example is one view; what is asked about the views of a batch is drawn in the training step."""

    def __init__(
        self,
        path: Path,
        settings: ViewSettings,
        *,
        steps: int,
        workers: int = 0,
        checkpoint: str | None = None,
        kept: Path | None = None,
        bf16: bool = False,
    ) -> None:
        self.path, self.settings, self.kept, self.bf16 = path, settings, kept, bf16
        self.steps, self.workers, self.checkpoint = steps, workers, checkpoint

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Views from the step on that is next.

        nlp (Language): The pipeline, for its vocabulary.
        YIELDS (Example): Its reference holds the view, not the photo.
        """
        views = self._views()
        asker = DenseAsker(views.photos, seed=self.settings.seed)
        for batch in views.stream(self._places, workers=self.workers):
            for view in batch:
                reference = Doc(nlp.vocab, words=["photo"])
                reference.user_data[VIEW_KEY] = DenseView(view, asker)
                yield Example(Doc(nlp.vocab, words=["photo"]), reference)

    def _views(self) -> PhotoViews:
        if self.kept is None or not isinstance(self.settings, KeptSettings):
            return PhotoViews(self.path, self.settings)
        views = KeptViews(self.path, self.kept, self.settings)
        views.fill(bf16=self.bf16)
        return views

    def _places(self) -> Iterator[tuple[int, float]]:
        step = steps_done(self.checkpoint)
        while True:
            yield step, min(1.0, step / max(1, self.steps))
            step += 1
