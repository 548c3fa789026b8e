# SPDX-License-Identifier: Apache-2.0
"""The page in a headless Chromium: nothing in its console, nothing from the network, all of it to be seen."""

import base64
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from reported import hostile_file, sweep_file
from rich.console import Console

from hls4attn.host.report import page as pages
from hls4attn.host.report.asked import Asked
from hls4attn.host.report.content import Column, Section, Table
from hls4attn.host.report.subject import find_subject
from hls4attn.host.report.sweep import sweep_page
from hls4attn.host.report.verb import model_page
from hls4attn.models.zoo import zoo_model

SHOTS = Path(__file__).parents[2] / "build" / "report-screenshots"
SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium, of its own profile; no driver is fetched."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.fail(
            "Chromium or its driver is missing; install them with: sudo apt-get install chromium chromium-driver"
        )
    options = Options()
    options.binary_location = chromium
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(service=Service(executable_path=driver), options=options)
    yield found
    found.quit()


class Visit:
    """A page that is open, and what its loading has left in the logs."""

    def __init__(self, browser, path, width=1280, dark=False):
        self.browser, self.path = browser, path
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        browser.get("about:blank")
        browser.get_log("performance"), browser.get_log("browser")
        browser.get(path.as_uri())

    def run(self, script, *values):
        return self.browser.execute_script(script, *values)

    def complaints(self):
        return [entry for entry in self.browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        messages = (json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance"))
        found = (m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent")
        return [url for url in found if not url.startswith("data:")]

    def shot(self, name):
        SHOTS.mkdir(parents=True, exist_ok=True)
        size = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        taken = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        (SHOTS / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The report of the digits model, stages that take long left out."""
    quiet = Console(quiet=True)
    asked = Asked(samples=40, stages=["onnx", "onnxruntime"])
    content, _ = model_page(quiet, quiet, find_subject(zoo_model("digits-vit").folder / "consmax.onnx"), asked)
    target = tmp_path_factory.mktemp("model") / "digits.html"
    pages.write(content, target)
    return content, target


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    place = tmp_path_factory.mktemp("sweep")
    content = sweep_page(sweep_file(place / "sweep.sqlite"))
    pages.write(content, place / "sweep.html")
    return content, place / "sweep.html"


def tables_of(content):
    return [b for section in content.sections for b in section.blocks if isinstance(b, Table)]


def rows_of(visit):
    return visit.run("return [...document.querySelectorAll('tbody')].map((body) => body.rows.length)")


@pytest.mark.parametrize("kind", ["model", "sweep"])
def test_it_opens_without_complaint_and_asks_nobody(browser, request, kind):
    content, path = request.getfixturevalue(kind)
    visit = Visit(browser, path)
    assert browser.title == f"{content.title} - {content.subject}"
    assert visit.requests() == [path.as_uri()]
    assert visit.complaints() == []
    assert rows_of(visit) == [len(table.rows) for table in tables_of(content)]
    assert visit.run("return document.querySelectorAll('section').length") == len(content.sections)
    visit.shot(kind)
    assert path.stat().st_size < 3 << 20


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("kind", ["model", "sweep"])
def test_nothing_is_wider_than_the_window_but_what_scrolls_by_itself(browser, request, kind, width):
    _, path = request.getfixturevalue(kind)
    visit = Visit(browser, path, width)
    assert visit.run("return document.documentElement.scrollWidth") <= width
    boxes = visit.run(
        """return [...document.querySelectorAll('.canvas')].map((box) => {
        const drawn = box.firstElementChild.getBoundingClientRect(), outer = box.getBoundingClientRect();
        return [drawn.width, drawn.height, outer.left, outer.right, box.scrollWidth >= drawn.width,
                getComputedStyle(box).overflowX]; })"""
    )
    assert boxes
    for drawn, height, left, right, reachable, overflow in boxes:
        assert drawn > 100 and height > 60 and left >= 0 and right <= width
        assert reachable and overflow == "auto"
    visit.shot(f"{kind}-{width}")


@pytest.mark.parametrize("width", [320, 400, 700, 1000, 1280])
def test_no_word_of_a_tile_is_broken(browser, request, model, sweep, width):
    """Each word stands on one line."""
    for _, path in (model, sweep):
        broken = Visit(browser, path, width).run(
            """const found = [];
            for (const part of document.querySelectorAll('.tile dt, .tile b, .tile small')) {
              for (const node of part.querySelectorAll('*').length ? part.childNodes : [part.firstChild]) {
                const text = node.nodeType === 3 ? node : node.firstChild;
                for (const word of text.data.matchAll(/\\S+/g)) {
                  const range = document.createRange();
                  range.setStart(text, word.index);
                  range.setEnd(text, word.index + word[0].length);
                  if (range.getClientRects().length !== 1) found.push(word[0]);
                }
              }
            } return found;"""
        )
        assert broken == []


@pytest.mark.parametrize("width", [1280, 400])
def test_drawings_can_be_read_and_be_seen_whole(browser, model, width):
    visit = Visit(browser, model[1], width)
    sizes = visit.run(
        """return [...document.querySelectorAll('.canvas svg text')].map((text) => {
        const svg = text.ownerSVGElement, shown = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
        return shown * parseFloat(getComputedStyle(text).fontSize); })"""
    )
    assert len(sizes) > 100 and min(sizes) > 9.9
    box = "const box = document.querySelector('.boxed .canvas'), drawn = box.firstElementChild.getBoundingClientRect();"
    inside = f"{box} return [drawn.width <= box.clientWidth, drawn.height <= box.clientHeight, box.clientHeight]"
    assert visit.run(inside)[:2] == [False, False] and visit.run(inside)[2] < 900
    visit.run("document.querySelector('.boxed label').click()")
    assert visit.run(inside)[:2] == [True, True]


@pytest.mark.parametrize("kind", ["model", "sweep"])
def test_all_columns_are_on_paper(browser, request, kind):
    """As wide as A4 between margins of 1 cm, with all that is folded open."""
    visit = Visit(browser, request.getfixturevalue(kind)[1], 718)
    try:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        visit.run("dispatchEvent(new Event('beforeprint'))")
        edges = "[...document.querySelectorAll('th, td, svg')].map((one) => one.getBoundingClientRect().right)"
        right = visit.run(f"return Math.max(...{edges})")
        assert visit.run("return document.querySelectorAll('details:not([open])').length") == 0
        assert 600 < right <= 718
        visit.shot(f"{kind}-print")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_many_columns_are_printed_in_landscape(browser, sweep, tmp_path):
    """And the table is no wider than that page."""
    (table,) = [t for t in tables_of(sweep[0]) if t.title == "Every point"]
    columns, cells = tuple(Column(f"a metric {k}", True) for k in range(20)), tuple(f"{k},024.5" for k in range(20))
    wide = replace(table, columns=table.columns + columns, rows=tuple(row + cells for row in table.rows))
    for shown, landscape in ((table, False), (wide, True)):
        content = replace(sweep[0], sections=(Section("points", "All points", (shown,)),))
        pages.write(content, tmp_path / "points.html")
        visit = Visit(browser, tmp_path / "points.html", 1047)
        printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
        sizes = {tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox \[([\d. ]+)\]", printed)}
        assert any(width > height for _, _, width, height in sizes) == landscape, sizes
    try:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert visit.run("return document.querySelector('table').getBoundingClientRect().right") <= 1047
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_dark_pages_are_dark(browser, model):
    visit = Visit(browser, model[1], 1280, dark=True)
    dark = visit.run("return getComputedStyle(document.body).backgroundColor")
    visit.shot("model-dark")
    assert dark != Visit(browser, model[1]).run("return getComputedStyle(document.body).backgroundColor")


def test_details_open_and_close(browser, model):
    visit = Visit(browser, model[1])
    folded = "document.querySelector('details.folded')"
    height = f"return {folded}.getBoundingClientRect().height"
    closed = visit.run(height)
    visit.run(f"{folded}.querySelector('summary').click()")
    assert visit.run(height) > closed + 50
    visit.run(f"{folded}.querySelector('summary').click()")
    assert visit.run(height) == closed


def test_tables_sort_and_filter(browser, sweep):
    visit = Visit(browser, sweep[1])
    table = "document.querySelector('#points table')"
    titles = [c.title for c in tables_of(sweep[0])[-1].columns]
    column = titles.index("interval cycles")
    click = f"{table}.tHead.rows[0].cells[{column}].querySelector('button').click();"
    read = f"return [...{table}.tBodies[0].rows].map((row) => row.cells[{column}].textContent)"
    visit.run(click)
    rising = visit.run(read)
    assert rising[0] == "600" and rising[-2:] == ["19,200", ""]  # what is not known comes last
    visit.run(click)
    assert visit.run(read) == [*sorted(rising[:-1], key=lambda t: -int(t.replace(",", ""))), ""]
    name = "const input = document.querySelector('#points input'); input.value = 'SOFTMAX ok'; "
    visit.run(f"{name} input.dispatchEvent(new Event('input'))")
    shown = visit.run(f"return [...{table}.tBodies[0].rows].filter((row) => !row.hidden).length")
    assert shown == 5 and "5 of 12 rows" in visit.run("return document.querySelector('#points .filter').textContent")


def test_a_sum_is_no_row_to_count_and_hides_when_some_are_hidden(browser, tmp_path):
    from reported import page

    pages.write(page(), tmp_path / "sizes.html")
    visit = Visit(browser, tmp_path / "sizes.html")
    state = """const input = document.querySelector('.filter input'); input.value = arguments[0];
        input.dispatchEvent(new Event('input'));
        return [document.querySelector('.filter span').textContent, document.querySelector('tr.total').hidden];"""
    assert visit.run(state, "") == ["3 of 3 rows", False]
    assert visit.run(state, "1,0") == ["1 of 3 rows", True]
    assert visit.run(state, "all") == ["0 of 3 rows", True]
    assert visit.run(state, "") == ["3 of 3 rows", False]


def test_names_that_are_markup_run_nothing(browser, tmp_path):
    quiet = Console(quiet=True)
    content, _ = model_page(quiet, quiet, find_subject(hostile_file(tmp_path)), Asked(samples=0))
    pages.write(content, tmp_path / "evil.html")
    visit = Visit(browser, tmp_path / "evil.html")
    assert visit.complaints() == []  # an alert would have stopped this
    assert visit.run("return document.scripts.length") == 1
    assert "<script>alert(1)" in visit.run("return document.body.textContent")


def test_the_policy_stops_what_would_get_in(browser, tmp_path):
    """A script and a picture that somebody puts into the file: the console says that they were refused."""
    from reported import page

    text = pages.html(page()).replace(
        "</main>", "<script>document.title = 'x'</script><img src='https://0.0.0.0/a'></main>"
    )
    (tmp_path / "changed.html").write_text(text)
    visit = Visit(browser, tmp_path / "changed.html")
    assert len(visit.complaints()) == 2 and browser.title != "x"
