"""Post pages and the report in a real browser: narrow, dark, by keyboard, and what pointing at one side does on the other."""

import numpy as np
import pytest
from blank import blank_nlp
from browser import needs_browser
from PIL import Image

from rivega_spacy import render
from rivega_spacy.cli import main
from rivega_spacy.corpus.docbin import write_docbin
from rivega_spacy.post.posts import post_to_doc, write_posts
from rivega_spacy.post.rle import encode_mask

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium, which drives the browser")
pytestmark = [pytest.mark.slow, needs_browser]
NARROW, WIDE = 390, 1280
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page of posts and a report, written as users write them."""
    root = tmp_path_factory.mktemp("pages")
    nlp = blank_nlp()
    Image.new("RGB", (400, 300), (90, 140, 200)).save(root / "a.jpg")
    mask = np.zeros((300, 400), bool)
    mask[40:200, 60:180] = True

    def doc(name, label="PER", box=(60, 40, 180, 200)):
        text = f"Ann met Bob at {LONG}"
        ents = [[0, 3, label], [8, 11, "PER"], [15, 15 + len(LONG), "ORG"]]
        doc = post_to_doc(nlp, {"id": name, "text": text, "ents": ents, "image": str(root / "a.jpg"), "knowledge": "z " * 200})
        ann, bob, other = doc.ents
        ann._.groundable, ann._.groundable_score, ann._.boxes, ann._.mask_rle = True, 0.9, [list(box)], encode_mask(mask)
        bob._.groundable, bob._.groundable_score, bob._.boxes = True, 0.6, [[10.0, 10.0, 50.0, 60.0]]
        other._.groundable, other._.groundable_score = False, 0.2
        return doc

    gold, found = [doc("p1"), doc("p2")], [doc("p1"), doc("p2", "LOC", (200, 100, 390, 290))]
    (root / "posts.html").write_text(render(found, jupyter=False), encoding="utf8")
    write_docbin(gold, root / "gold.spacy")
    list(write_posts(found, root / "found.jsonl"))
    assert (
        main(["report", str(root / "found.jsonl"), "--gold", str(root / "gold.spacy"), "--output", str(root / "report.html")]) == 0
    )
    return root


@pytest.fixture
def show(driver, folder):
    """show(name, width, dark) -> the browser at that page. Nothing may stand in its console at the end."""

    def open_page(name, width=WIDE, dark=False):
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        driver.get((folder / name).as_uri())
        return driver

    yield open_page
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not driver.get_log("browser")


# What sticks out of the window, but for what is scrolled by itself.
STICKS_OUT = """
const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll('body *')].filter(each => each.getBoundingClientRect().right > wide + 1 && !each.closest('.scroll') &&
  !each.closest('.frame')).map(each => each.outerHTML.slice(0, 200));
"""
# Contrast of text with the first ground behind it that is not see-through (WCAG 2).
CONTRAST = r"""
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgb = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data; };
const light = c => { const [r, g, b] = [...c].slice(0, 3).map(v => (v /= 255, v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)); return .2126 * r + .7152 * g + .0722 * b; };
const ground = each => { for (; each; each = each.parentElement) { const c = rgb(getComputedStyle(each).backgroundColor); if (c[3] == 255) return c; } return [255, 255, 255]; };
return [...document.querySelectorAll(arguments[0])].map(each => {
  const a = light(rgb(getComputedStyle(each).color)), b = light(ground(each));
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
});
"""


@pytest.mark.parametrize("name", ["posts.html", "report.html"])
@pytest.mark.parametrize("dark", [False, True])
def test_everything_is_read_at_390_pixels(show, name, dark):
    page = show(name, NARROW, dark)
    assert page.execute_script("return document.documentElement.scrollWidth") == NARROW
    assert page.execute_script(STICKS_OUT) == []
    assert min(page.execute_script(CONTRAST, "h1, h2, h3, p, td, th, figcaption, li, .lead, .facts, .means, summary")) >= 4.5
    shade = int(page.execute_script("return getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0])
    assert shade < 64 if dark else shade > 192


def test_tables_and_charts_of_the_report_are_whole(show):
    page = show("report.html", NARROW)
    tables = page.execute_script(
        "return [...document.querySelectorAll('.scroll')].map(each => [each.scrollWidth > each.clientWidth, getComputedStyle(each).overflowX, each.tabIndex])"
    )
    assert tables and all(not cut or (overflow == "auto" and tab == 0) for cut, overflow, tab in tables)
    charts = page.execute_script(
        "return [...document.querySelectorAll('.sheet > svg')].map(each => [each.getBoundingClientRect().width, each.viewBox.baseVal.width])"
    )
    assert charts and all(0 < width <= NARROW and inner for width, inner in charts)
    assert all(
        page.execute_script(
            "return [...document.images].map(each => each.complete && each.naturalWidth > 0 || each.loading == 'lazy')"
        )
    )


def test_headings_pictures_and_language_are_said(show):
    for name in ("posts.html", "report.html"):
        page = show(name)
        assert page.execute_script("return document.documentElement.lang") == "en"
        levels = page.execute_script("return [...document.querySelectorAll('h1, h2, h3, h4')].map(each => Number(each.tagName[1]))")
        assert levels[0] == 1 and all(b - a <= 1 for a, b in zip(levels, levels[1:]))
        assert "Ann" in page.execute_script("return [...document.images].map(each => each.alt).join(' ')")


def opacities(page):
    """Of the first post's boxes, by number."""
    return page.execute_script(
        "return Object.fromEntries([...document.querySelector('.post').querySelectorAll('.frame rect.over')].map(e => [[...e.classList].find(n => /^n\\d/.test(n)), Number(getComputedStyle(e).opacity)]))"
    )


def test_pointing_at_a_mark_or_row_leaves_its_box_alone(show):
    page = show("posts.html")
    first = page.find_element("css selector", ".post")
    assert opacities(page) == {"n1": 1, "n2": 1}
    for selector in ("mark.n2", ".ents > li.n1"):
        webdriver.ActionChains(page).move_to_element(first.find_element("css selector", selector)).pause(0.4).perform()
        chosen = selector.rsplit(".", 1)[1]
        other = "n1" if chosen == "n2" else "n2"
        assert opacities(page)[chosen] == 1 > opacities(page)[other]


def test_marks_and_rows_are_reached_by_keyboard_and_lead_to_each_other(show):
    page = show("posts.html")
    focused = []
    for _ in range(14):
        webdriver.ActionChains(page).send_keys(webdriver.Keys.TAB).perform()
        focused.append(
            page.execute_script(
                "const e = document.activeElement; return [e.tagName, !!e.closest('mark'), !!e.closest('.ents'), e.getAttribute('href')]"
            )
        )
    marks = [href for tag, mark, _, href in focused if tag == "A" and mark]
    rows = [href for tag, _, row, href in focused if tag == "A" and row]
    assert marks and rows
    for href in (*marks, *rows):
        target = page.execute_script(
            "const e = document.getElementById(arguments[0].slice(1)); return e && (e.closest('mark') || e.closest('li')).textContent",
            href,
        )
        assert target
