"""Posts of the data folder, in either form, to train, dev and test .spacy, and to compact JSON lines for `rivega enrich`.

    python scripts/convert_data.py DATA corpus --format jsonl|published [--version v2.0|v1] [--knowledge Twitter10000_noaugment]

What of the published files is there is used: masks (posts/smner), knowledge (RiVEG's zip), captions, pictures. Pictures are referred to as
DATA is written, so the commands that read the posts are run in the same folder as this one.
"""

import argparse
import sys
import zipfile
from pathlib import Path

from rivega_spacy.corpus.converting import convert_sources
from rivega_spacy.corpus.formats.assemble import Sources

SPLITS = ("train", "dev", "test")
FOLDERS = {"v1": "Twitter10000", "v2.0": "Twitter10000_v2.0"}
# Where RiVEG keeps its captions.
CAPTIONS = "data_processing/VE_processing/Image caption"
DESCRIPTIONS = "data_processing/MNER_processing/owl_image_caption"


def main() -> int:
    """RETURNS (int): 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--format", choices=("jsonl", "published"), default="jsonl")
    parser.add_argument("--version", choices=tuple(FOLDERS), default="v2.0", help="of Twitter-GMNER (default: %(default)s)")
    parser.add_argument(
        "--knowledge", default="Twitter10000_noaugment", help="name of RiVEG's zip of knowledge (default: %(default)s)"
    )
    args = parser.parse_args()
    images = args.data / "images"
    knowledge: dict[str, Path] = {}
    if args.format == "published":
        knowledge = unpack_knowledge(args.data / "posts" / "MNER" / f"{args.knowledge}.zip", args.out / "knowledge")
    for split in SPLITS:
        if args.format == "jsonl":
            sources = Sources(text=args.data / "posts" / f"twitter_gmner_{split}.jsonl.gz", format="jsonl")
        else:
            sources = published(args.data / "posts", FOLDERS[args.version], split, knowledge.get(split))
        for target in (args.out / f"{split}.spacy", args.out / "posts" / f"{split}.jsonl.gz"):
            lines, _ = convert_sources(sources, target, images=images if images.is_dir() else None)
            sys.stdout.write("\n".join(lines if target.suffix == ".spacy" else lines[:1]) + "\n")
    return 0


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
    RETURNS (Dict[str, Path]): Empty where there is no archive.
    """
    found: dict[str, Path] = {}
    if not archive.is_file():
        return found
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive) as packed:
        for name in packed.namelist():
            stem = Path(name).stem.lower()
            split = next((split for split in SPLITS if split in stem), "dev" if "valid" in stem else None)
            if split is not None and name.endswith(".txt") and "__MACOSX" not in name:
                found[split] = out / f"{split}.txt"
                found[split].write_bytes(packed.read(name))
    return found


if __name__ == "__main__":
    sys.exit(main())
