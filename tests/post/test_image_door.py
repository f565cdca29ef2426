"""There is one door: nothing else in the package and the benchmarks opens a picture."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOOR = Path("rivega_spacy/post/images.py")
SOURCES = sorted(path for folder in ("rivega_spacy", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
# What opens pictures besides `PIL.Image.open`: module as imported, and name.
OPENERS = {
    "PIL.Image.open",
    "PIL.Image.init",
    "PIL.ImageFile.Parser",
    "PIL.ImageSequence.Iterator",
    "cv2.imread",
    "cv2.imdecode",
    "cv2.VideoCapture",
    "torchvision.io.read_image",
    "torchvision.io.decode_image",
    "transformers.image_utils.load_image",
    "matplotlib.pyplot.imread",
    "imageio.imread",
    "skimage.io.imread",
}


def opened_in(code: str) -> list:
    """Every call or mention of what opens a picture, under whatever name it was imported, as (name, keywords)."""
    tree = ast.parse(code)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                names[item.asname or item.name.split(".")[0]] = item.name if item.asname else item.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for item in node.names:
                names[item.asname or item.name] = f"{node.module}.{item.name}"

    def full(node: ast.AST) -> str:
        if isinstance(node, ast.Attribute):
            return f"{full(node.value)}.{node.attr}"
        return names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"

    keywords = {id(call.func): [word.arg for word in call.keywords] for call in ast.walk(tree) if isinstance(call, ast.Call)}
    found = ((full(node), keywords.get(id(node), [])) for node in ast.walk(tree) if isinstance(node, (ast.Attribute, ast.Name)))
    return [(name, words) for name, words in found if name in OPENERS or (name.endswith("Plugin") and name.startswith("PIL."))]


@pytest.mark.parametrize(
    "code",
    [
        "from PIL import Image\nImage.open(x)",
        "import PIL.Image\nPIL.Image.open(x)",
        "import PIL.Image as P\nread = P.open",
        "from PIL import Image as I\nmap(I.open, x)",
        "from PIL.Image import open as look\nlook(x)",
        "import cv2\ncv2.imread(x)",
        "from PIL import EpsImagePlugin\nEpsImagePlugin.EpsImageFile(x)",
    ],
)
def test_the_check_sees_every_way_to_write_it(code):
    assert opened_in(code)


@pytest.mark.slow
def test_pictures_are_opened_in_one_place():
    found = {path.relative_to(ROOT): opened_in(path.read_text(encoding="utf8")) for path in SOURCES}
    assert len(found) > 100
    opened = {path: calls for path, calls in found.items() if calls}
    assert list(opened) == [DOOR]
    assert opened[DOOR] == [("PIL.Image.open", ["formats"])]
