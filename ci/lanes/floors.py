"""Print the lowest versions that setup.cfg admits, as constraints of pip: `python ci/lanes/floors.py EXTRA ...`

Without torch: an old one on the package index is for CUDA, with gigabytes of libraries.
"""

import configparser
import re
import sys
from pathlib import Path

SETUP = Path(__file__).resolve().parents[2] / "setup.cfg"


def floors(extras: list[str]) -> list[str]:
    """The lower end of each requirement."""
    setup = configparser.ConfigParser()
    setup.read(SETUP, encoding="utf8")
    wanted = [setup["options"]["install_requires"], *(setup["options.extras_require"][extra] for extra in extras)]
    found = re.findall(r"^([\w-]+)(?:\[[\w,-]+\])?[>=]=([\w.]+)", "\n".join(wanted), re.M)
    return sorted({f"{name}=={version}" for name, version in found if name != "torch"})


if __name__ == "__main__":
    sys.stdout.write("".join(f"{pin}\n" for pin in floors(sys.argv[1:])))
