"""Posts of the data folder, in either form, to train, dev and test .spacy, and to compact JSON lines for `rivega enrich`.

What of the published files is there is used: masks (posts/smner), knowledge (RiVEG's zip), expansions (RiVEG's VE tables in posts/VE, or
recorded gold expansions as JSON lines), captions, pictures. Pictures are referred to as
DATA is written, so the commands that read the posts are run in the same folder as this one.
"""

from dataclasses import replace
from pathlib import Path

from ..corpus.converting import convert_sources
from ..corpus.formats.assemble import Sources
from ..post.archives import zip_members

SPLITS = ("train", "dev", "test")
FOLDERS = {"v1": "Twitter10000", "v2.0": "Twitter10000_v2.0"}
# Where RiVEG keeps its captions.
CAPTIONS = "data_processing/VE_processing/Image caption"
# Recorded expansions of the gold entities of a split: RiVEG's VE table, else JSON lines.
EXPANSIONS = ("VE/twitter10000_addent_{split}.tsv", "riveg_{split}_gold.jsonl.gz")
DESCRIPTIONS = "data_processing/MNER_processing/owl_image_caption"


def convert_data(
    data: Path, out: Path, *, form: str = "jsonl", version: str = "v2.0", knowledge: str = "Twitter10000_noaugment"
) -> list[str]:
    """Convert all splits.

    data (Path): The data folder.
    out (Path): Folder to write.
    form (str): Of the posts: "jsonl" or "published".
    version (str): Of Twitter-GMNER, one of FOLDERS.
    knowledge (str): Name of RiVEG's zip of knowledge.
    RETURNS (List[str]): Lines that say what was read.
    """
    said: list[str] = []
    images = data / "images"
    known: dict[str, Path] = {}
    if form == "published":
        known = unpack_knowledge(data / "posts" / "MNER" / f"{knowledge}.zip", out / "knowledge")
    for split in SPLITS:
        if form == "jsonl":
            sources = Sources(text=data / "posts" / f"twitter_gmner_{split}.jsonl.gz", format="jsonl")
        else:
            sources = published(data / "posts", FOLDERS[version], split, known.get(split))
        recorded = [path for path in (data / "posts" / name.format(split=split) for name in EXPANSIONS) if path.is_file()]
        sources = replace(sources, expansions=[(None, path) for path in recorded[:1]])
        for target in (out / f"{split}.spacy", out / "posts" / f"{split}.jsonl.gz"):
            lines, _ = convert_sources(sources, target, images=images if images.is_dir() else None)
            said += lines if target.suffix == ".spacy" else lines[:1]
    return said


def published(posts: Path, folder: str, split: str, knowledge: Path | None) -> Sources:
    """The published files of a split; those that are not there are left out."""
    return Sources(
        text=posts / folder / "txt" / f"{split}.txt",
        format="conll",
        boxes=posts / folder / "xml",
        masks=_there(posts / "smner"),
        knowledge=knowledge,
        captions=_there(posts / CAPTIONS),
        descriptions=_there(posts / DESCRIPTIONS),
    )


def _there(path: Path) -> Path | None:
    return path if path.exists() else None


def unpack_knowledge(archive: Path, out: Path) -> dict[str, Path]:
    """The files of knowledge by split.

    archive (Path): A zip with a .txt for each split, whose name holds "train", "dev" (or "valid") and "test".
    out (Path): Folder to write them to.
    RETURNS (Dict[str, Path]): Empty if there is no archive.
    """
    found: dict[str, Path] = {}
    if not archive.is_file():
        return found
    out.mkdir(parents=True, exist_ok=True)
    for name, data in zip_members(archive, lambda name: name.endswith(".txt") and "__MACOSX" not in name):
        stem = Path(name).stem.lower()
        split = next((split for split in SPLITS if split in stem), "dev" if "valid" in stem else None)
        if split is not None:
            found[split] = out / f"{split}.txt"
            found[split].write_bytes(data)
    return found
