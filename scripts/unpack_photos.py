"""Unpack the photograph archives of a folder, each into a folder of its own name."""

import argparse
import tarfile
from pathlib import Path

from tqdm import tqdm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archives", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for path in tqdm(sorted(args.archives.glob("*.tar.gz")), unit=" archives", disable=None):
        with tarfile.open(path) as archive:
            archive.extractall(args.out, filter="data")


if __name__ == "__main__":
    main()
