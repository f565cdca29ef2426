"""Where a run of experiments reads and writes."""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class RunPlace:
    """Folders and machine of a run; one line of `rivega tables`.

    data (Path): Folder with train.spacy, dev.spacy and the test posts.
    output (Path): Where everything is written: configs/, parts/, pipelines/, metrics/, logs/, done/, runs/, tables/.
    weights (Path): Folder of the weights that others hand out.
    test (str): The test posts' file within `data`.
    images (Optional[Path]): Folder that relative paths of pictures start from.
    gpu_id (int): -1 for the CPU.
    seed (Optional[int]): Replaces the seed of every training config.
    hub (bool): Names on the model hub may be downloaded.
    enrich (bool): Language models may be asked, which may cost money.
    limit (int): Test posts at most; 0 for all.
    """

    data: Path
    output: Path
    weights: Path
    test: str = "test.spacy"
    images: Path | None = None
    gpu_id: int = -1
    seed: int | None = None
    hub: bool = False
    enrich: bool = False
    limit: int = 0

    def within(self, data: str) -> "RunPlace":
        """The same with a folder within the data folder as data folder; "" for that itself."""
        return replace(self, data=self.data / data) if data else self

    def config(self, name: str) -> Path:
        """The file of a merged config."""
        return self.output / "configs" / f"{name}.cfg"

    def part(self, name: str) -> Path:
        """The pipeline that training a part leaves behind."""
        return self.output / "parts" / name / "model-best"

    def pipeline(self, name: str) -> Path:
        """The assembled pipeline of a variant."""
        return self.output / "pipelines" / name

    def metrics(self, name: str) -> Path:
        """What `rivega evaluate` wrote about a variant."""
        return self.output / "metrics" / f"{name}.json"

    def predictions(self, name: str) -> Path:
        """The processed posts of a run, where several runs of a variant are compared."""
        return self.output / "predictions" / f"{name}.jsonl"

    def record(self, name: str) -> Path:
        """What became of a variant in the last run."""
        return self.output / "runs" / f"{name}.json"
