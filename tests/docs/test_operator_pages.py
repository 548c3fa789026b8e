# SPDX-License-Identifier: Apache-2.0
"""Generated tables and drawings are up to date; C++ examples of the operators compile and print what they say."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from hls4attn.hls import include_dir
from hls4attn.hls.compiler import ap_types_dir

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "pages"
OPERATORS = sorted((PAGES / "operators").glob("*.md"))
DRAWINGS = sorted((PAGES / "img").glob("*_datapath.svg")) + sorted((PAGES / "img").glob("*_curves.svg"))
EXAMPLES = [(p.name, n) for p in OPERATORS for n in re.findall(r"<!-- table cpp (\w+) -->", p.read_text())]
_FLAGS = ["-std=c++11", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-unused-parameter", "-Werror"]


def make(folder, *arguments):
    """`make tables`."""
    command = [sys.executable, str(folder / "docs" / "make"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_tables_and_drawings_are_up_to_date():
    done = make(ROOT, "--check")
    assert (done.returncode, done.stdout) == (0, ""), "run: make tables" + done.stderr


@pytest.fixture
def copy(tmp_path):
    """A README with one table, one page, and all drawings."""
    shutil.copytree(ROOT / "docs" / "make", tmp_path / "docs" / "make")
    shutil.copytree(PAGES / "img", tmp_path / "docs" / "pages" / "img")
    (tmp_path / "docs" / "pages" / "operators").mkdir()
    shutil.copy(PAGES / "operators" / "consmax.md", tmp_path / "docs" / "pages" / "operators")
    shutil.copy(PAGES / "comparison.md", tmp_path / "docs" / "pages")
    (tmp_path / "README.md").write_text("before\n\n<!-- table results -->\n| old |\n<!-- end -->\n\nafter\n")
    return tmp_path


def test_what_is_stale_is_found_and_renewed(copy):
    pages, readme = copy / "docs" / "pages", copy / "README.md"
    page, drawing = pages / "operators" / "consmax.md", pages / "img" / "consmax_datapath.svg"
    wanted = page.read_text()
    page.write_text(wanted.replace("| direct table, 8-bit scores | 0.50 |", "| direct table, 8-bit scores | 0.40 |"))
    drawing.write_text(drawing.read_text().replace("256 entries", "128 entries"))
    assert page.read_text() != wanted
    done = make(copy, "--check")
    assert done.returncode == 1
    named = re.findall(r"^(\S+) is not what", done.stdout, re.MULTILINE)
    assert named == ["README.md", "docs/pages/operators/consmax.md", "docs/pages/img/consmax_datapath.svg"]
    assert "| old |" in readme.read_text()
    assert make(copy).returncode == 0
    assert page.read_text() == wanted
    assert readme.read_text().startswith("before\n\n<!-- table results -->\n\n| model | quality |")
    assert readme.read_text().endswith(" |\n\n<!-- end -->\n\nafter\n")
    assert "| 0/10,000 in 5 stages, 0/200 in qonnx |" in readme.read_text()
    assert drawing.read_text() == (PAGES / "img" / drawing.name).read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<!-- table nothing -->\n<!-- end -->", "README.md: there is no table 'nothing'; known: "),
        ("<!-- table results -->\n", "README.md: a table lacks its"),
        ("<!-- end -->\n", "README.md: a table lacks its"),
    ],
)
def test_marks_that_are_wrong(copy, text, words):
    (copy / "README.md").write_text(text)
    done = make(copy)
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda p: p.stem)
def test_drawings(path):
    """Valid XML with a title, in the colour of the page's text, inside its canvas, and shown by a page."""
    root = ET.fromstring(path.read_text())
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    assert root.find(f"{space}title").text
    assert root.get("stroke") == "currentColor"
    _, _, width, height = map(float, root.get("viewBox").split())
    for text in root.iter(f"{space}text"):
        assert 0 <= float(text.get("x")) <= width, text.text
        assert 0 <= float(text.get("y")) <= height, text.text
        assert text.get("fill") == "currentColor"
    assert any(f"img/{path.name}" in page.read_text() for page in OPERATORS)


def test_drawings_and_examples_are_there():
    assert len(DRAWINGS) == 12
    assert sorted(n for _, n in EXAMPLES) == ["ailayernorm", "consmax", "e2softmax", "gaincell", "layernorm", "softmax"]


def example(page, name):
    """The C++ text and what the page says it prints."""
    text = (
        (PAGES / "operators" / page).read_text().partition(f"<!-- table cpp {name} -->")[2].partition("<!-- end -->")[0]
    )
    return re.search(r"```cpp\n(.*?)```.*?```text\n(.*?)\n```", text, re.DOTALL).groups()


def printed(folder, code):
    source, program = folder / "example.cpp", folder / "example"
    source.write_text(code)
    includes = [f"-I{include_dir()}", "-isystem", str(ap_types_dir())]
    done = subprocess.run(
        ["g++", *_FLAGS, *includes, str(source), "-o", str(program)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.compile
@pytest.mark.parametrize(("page", "name"), EXAMPLES, ids=[n for _, n in EXAMPLES])
def test_headers_alone(tmp_path, page, name):
    code, said = example(page, name)
    assert printed(tmp_path, code) == said


@pytest.mark.compile
def test_a_wrong_table_shows(tmp_path):
    code, said = example("consmax.md", "consmax")
    assert printed(tmp_path, code.replace("106, 135}", "106, 134}")) == said.replace("135", "134")


@pytest.mark.parametrize("page", [p for p in OPERATORS if p.stem != "index"], ids=lambda p: p.stem)
def test_sections(page):
    """What a reader looks for is on every page."""
    found = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE)
    for wanted in ("Formula", "Integers", "Datapath", "Function and error", "Try it", "Measured", "Limits", "Citation"):
        assert wanted in found
