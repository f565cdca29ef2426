"""From an empty folder to the first corrected and exported post, by the commands of the README and a browser, each step timed.

    python benchmarks/first_post.py [REPOSITORY] [--torch torch==2.13.0] [--screenshots FOLDER] [--keep FOLDER]

The commands under "Install" and "Correct your first post" of the clone's own README are run as they stand there, in an empty folder, with an
empty virtual environment and no pip cache; `--torch` is the line before them for a machine without a GPU. Then a Chromium does on the page
what that section says: looks at the first post, changes an entity's words and type, drags a box by a corner until its mask has followed,
downloads the JSON line, saves, and the file is read back. Time that a person thinks and aims is not in it. Needs git, Chromium with its
driver, and selenium.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import Select

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Print a row a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", nargs="?", default=str(ROOT), help="what is cloned")
    parser.add_argument("--torch", default="", help="what is installed before the rest, as torch==2.13.0")
    parser.add_argument("--screenshots", type=Path, default=None)
    parser.add_argument("--keep", type=Path, default=None, help="an empty folder that is used and left")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = args.keep if args.keep is not None else Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        Way(folder, args.screenshots).go(args.repository, args.torch)
    return 0


class Way:
    """One newcomer in one folder."""

    def __init__(self, folder: Path, screenshots: Path | None) -> None:
        self.folder, self.screenshots = folder, screenshots
        self.total = 0.0

    def go(self, repository: str, torch: str) -> None:
        """From the clone to the saved post."""
        clone, make, *installs = section(ROOT / "README.md", "Install")
        with self.step("git clone"):
            self.shell(clone.split(" && ")[0].replace("clone <this repository>", f"clone -q {repository}"), self.folder)
        home = self.folder / "rivega_spacy"
        assert section(home / "README.md", "Install") == [clone, make, *installs], "the clone has another README"
        with self.step("virtual environment"):
            self.shell(make.split(" && ")[0], home)
        if torch:
            with self.step(f"pip install {torch}"):
                self.shell(f"pip install -q {torch}", home)
        for install in installs:
            with self.step(f"`{install}`"):
                self.shell(install.replace("pip install", "pip install -q"), home)
        (serve,) = section(home / "README.md", "Correct your first post")
        with self.step("rivega serve: until it answers"):
            server = subprocess.Popen(
                f". .venv/bin/activate && exec {serve}", cwd=home, shell=True, stdout=subprocess.PIPE, text=True
            )
            line = next(line for line in server.stdout or [] if " at http" in line)
        try:
            self.correct(line.split(" at ")[1].split(" ")[0])
        finally:
            server.terminate()
            server.wait()
        saved = json.loads((home / "corrected.jsonl").read_text(encoding="utf8").splitlines()[0])
        print(f"| all | {self.total:.1f} |\n\nsaved: {[(ent['text'], ent['label'], ent['box']) for ent in saved['ents']]}")

    def correct(self, url: str) -> None:
        """What the section says, on the page."""
        downloads = self.folder / "downloads"
        downloads.mkdir()
        driver = browser(downloads)
        try:
            with self.step("the page in the browser, first post annotated"):
                driver.get(url)
                until(lambda: driver.find_elements("css selector", "#layers canvas"))
            self.shot(driver, "1-first-post")
            with self.step("an entity's words and type changed"):
                driver.find_elements("css selector", "#ents button.name")[1].click()
                driver.find_element("css selector", '#ents li.selected [data-do="end-on"]').click()
                Select(driver.find_element("css selector", '#ents li.selected [data-field="type"]')).select_by_value("ORG")
                until(lambda: "model" in driver.find_element("css selector", "#ents li.selected").text)
            with self.step("a box dragged, its mask followed"):
                driver.find_elements("css selector", "#ents button.name")[0].click()
                before = painted(driver)
                handle = driver.find_element("css selector", "#marks .handle.h4")
                webdriver.ActionChains(driver).drag_and_drop_by_offset(handle, 40, 60).perform()
                until(lambda: not driver.find_elements("css selector", "#ents .waiting") and painted(driver) != before)
            self.shot(driver, "2-corrected")
            with self.step("JSON downloaded"):
                driver.find_element("css selector", "#downloads button").click()
                until(lambda: [path for path in downloads.iterdir() if path.suffix in (".json", ".jsonl")])
            with self.step("saved, next post there"):
                driver.find_element("css selector", "#save").click()
                until(
                    lambda: (
                        "1 of" in driver.find_element("css selector", "#saved").text
                        and driver.find_elements("css selector", "#layers canvas")
                    )
                )
            self.shot(driver, "3-next")
            (exported,) = downloads.iterdir()
            entities = json.loads(exported.read_text(encoding="utf8"))["ents"]
            assert entities[1]["label"] == "ORG" and entities[0]["mask_rle"], entities
        finally:
            driver.quit()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self.total += seconds
        print(f"| {name} | {seconds:.1f} |", flush=True)

    def shell(self, command: str, folder: Path) -> None:
        # The environment is made by one line and entered for each that follows, as a terminal stays in it.
        entered = ". .venv/bin/activate && " if (folder / ".venv").is_dir() else ""
        environment = {**os.environ, "PIP_NO_CACHE_DIR": "1", "PYTHONPATH": ""}
        subprocess.run(entered + command, cwd=folder, shell=True, check=True, env=environment)

    def shot(self, driver: webdriver.Chrome, name: str) -> None:
        if self.screenshots is not None:
            self.screenshots.mkdir(parents=True, exist_ok=True)
            driver.save_screenshot(str(self.screenshots / f"{name}.png"))


def section(page: Path, heading: str) -> list[str]:
    """Lines of the shell block under a heading."""
    text = page.read_text(encoding="utf8")
    found = re.search(rf"^## {heading}\n.*?^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1].splitlines()


def browser(downloads: Path) -> webdriver.Chrome:
    """A Chromium that nobody sees."""
    options = Options()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,1000"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    return driver


def painted(driver: webdriver.Chrome) -> Any:
    """Pixels of each mask."""
    return driver.execute_script(
        "return [...document.querySelectorAll('#layers canvas')].map(c => c.getContext('2d').getImageData(0, 0, c.width, c.height)"
        ".data.filter((v, i) => i % 4 == 3 && v).length)"
    )


def until(condition: Callable[[], Any]) -> None:
    """Look again until it is so."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
