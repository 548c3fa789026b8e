# SPDX-License-Identifier: Apache-2.0
"""The documentation: it builds without a warning, asks nothing of the network, and its examples run."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests import documents
from tests.documents import DOCUMENTS, PAGES, ROOT, agrees, blocks, run_page

CONFIG = ROOT / "docs" / "mkdocs.yml"
#: Attributes by which a page makes a browser ask for something, by tag; a link that a reader may follow is none.
_ASKS = {
    "script": ["src"],
    "img": ["src", "srcset"],
    "iframe": ["src"],
    "source": ["src", "srcset"],
    "object": ["data"],
    "form": ["action"],
    "image": ["href", "xlink:href"],
    "use": ["href", "xlink:href"],
    "link": ["href"],
}


def build(folder, config=CONFIG):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=documents.environment())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


class Requests(HTMLParser):
    """Addresses elsewhere that a page makes a browser ask for."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        for name in _ASKS.get(tag, ()):
            self.found += re.findall(r"(?:https?:)?//[^\s\"',]+", given.get(name) or "")
        self.found += addresses(given.get("style") or "")


def addresses(css):
    return re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\s\"')]+)", css)


def requests(html):
    parser = Requests()
    parser.feed(html)
    styles = re.findall(r"<style.*?</style>", html, re.DOTALL)
    return parser.found + [a for s in styles for a in addresses(s)]


def test_the_site_asks_nothing_of_the_network(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= len(list(PAGES.rglob("*.md")))
    assert {page.name: found for page in pages if (found := requests(page.read_text()))} == {}
    assert {css.name: found for css in site.rglob("*.css") if (found := addresses(css.read_text()))} == {}
    assert {svg.name: found for svg in PAGES.rglob("*.svg") if (found := requests(svg.read_text()))} == {}


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://unpkg.com/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<img src="http://example.com/badge.svg">',
        "<style>@import 'https://example.com/a.css'</style>",
        '<p style="background: url(https://example.com/a.png)">',
    ],
)
def test_requests_are_found(html):
    assert len(requests(html)) == 1
    assert requests('<a href="https://example.com">a link</a>') == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gone](nowhere.md)", "nowhere.md"),
        ("[gone](#nowhere)", "#nowhere"),
        ("::: hls4attn.models.formats.Nothing", "Nothing"),
    ],
)
def test_a_strict_build_refuses(tmp_path, text, words):
    """Broken links and names, and pages outside of the navigation."""
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text(f"# A page\n\n{text}\n")
    config = CONFIG.read_text().partition("\nnav:")[0].replace("[hooks.py]", f"[{CONFIG.parent / 'hooks.py'}]")
    config = config.replace("../build/types", str(ROOT / "build" / "types"))
    (tmp_path / "mkdocs.yml").write_text(config + "\nnav: [{Start: index.md}]\n")
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode != 0
    assert words in done.stderr


def test_every_page_is_in_the_navigation():
    nav = CONFIG.read_text().partition("\nnav:")[2]
    listed = re.findall(r"([\w/-]+\.md)", nav)
    assert sorted(listed) == sorted(str(p.relative_to(PAGES)) for p in PAGES.rglob("*.md"))


@pytest.mark.compile
@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_examples(page):
    run_page(page, slow=False)


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.parametrize(
    "page", [p for p in DOCUMENTS if any(b.slow for b in blocks(p))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_slow_examples(page):
    run_page(page, slow=True)


#: Languages of blocks that are run, that others check, and that `make tables` writes from files which are compiled.
_RUN, _SHOWN, _WRITTEN = {"bash", "python"}, {"text", "toml", "json", "bibtex"}, {"cpp", "py", "systemverilog"}


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_say_what_they_are(page):
    """A block without a language, or one of ours written by hand, would be an example that nobody runs."""
    assert [b.where for b in blocks(page) if b.language not in _RUN | _SHOWN | _WRITTEN] == []
    by_hand = re.sub(r"<!-- table .*?<!-- end -->", "", page.read_text(), flags=re.DOTALL)
    assert [b.text for b in blocks(page, by_hand) if b.language in _WRITTEN] == []


PAGE = """# Page

<!-- slow -->
```bash
hls4attn verify a.onnx \\
  --samples 3
# a remark
make demo
```

<!-- output -->
```text
done in 3.2 s
```

1. indented:

   ```python
   x = 1
   ```
"""


def test_blocks_of_a_page():
    bash, shown, python = blocks(ROOT / "page.md", PAGE)
    assert bash.commands == ["hls4attn verify a.onnx    --samples 3", "make demo"]
    assert (bash.slow, bash.code, bash.output, bash.where) == (True, 0, "done in 3.2 s\n", "page.md:4")
    assert (shown.language, shown.slow) == ("text", False)
    assert (python.text, python.slow, python.line) == ("x = 1\n", False, 18)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb 1.5 s\n", "a\nb 12 s\n", True),
        ("a\nb 1.5 ms\n", "a\nb 12 ms\n", False),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\nd\n", "a\nd\n", True),
        ("a\n...\n", "b\na\n", False),
        ("...\n", "", True),
        ("a.c\n", "abc\n", False),
        ("a\n", "a\nb\n", False),
    ],
)
def test_outputs_agree(shown, printed, same):
    assert agrees(shown, printed) is same


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```bash\nrm -rf x\n```", "Pages show hls4attn, python and make"),
        ("```bash\npython -c 'print(\"3/10 mismatches\")'\n```", "mismatches"),
        ("```bash\npython -c 'raise SystemExit(2)'\n```", "ended with 2, not 0"),
        ("<!-- exit 2 -->\n```bash\npython -c 'pass'\n```", "ended with 0, not 2"),
        ("```bash\nmake nothing-like-that\n```", "No rule to make target"),
        ("```python\nx = 1\n```\n\n```python\nprint(x)\n```\n\n<!-- output -->\n```text\n2\n```", "printed\n1\n"),
        ("```python\n1 / 0\n```", "ZeroDivisionError"),
        ("```python\nimport os\nos._exit(1)\n```", "ended its process"),
    ],
)
def test_a_page_that_is_wrong_fails(tmp_path, monkeypatch, text, words):
    page = Path(tmp_path, "page.md")
    page.write_text(text + "\n")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    (tmp_path / "Makefile").write_text("all:\n")
    with pytest.raises(AssertionError, match=re.escape(words)):
        run_page(page, slow=True)


@pytest.mark.parametrize("printed", ["0/0 mismatches", "nothing", "ratio 10/3"])
def test_a_verification_of_nothing_fails(tmp_path, monkeypatch, printed):
    page = Path(tmp_path, "page.md")
    page.write_text("```bash\nhls4attn verify a.onnx\n```\n")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(documents, "run_line", lambda line: (0, printed, ""))
    with pytest.raises(AssertionError, match="compared nothing"):
        run_page(page, slow=False)


def test_slow_blocks_wait_for_make_test_all(tmp_path, monkeypatch):
    page = Path(tmp_path, "page.md")
    page.write_text("<!-- slow -->\n```python\n1 / 0\n```\n")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    run_page(page, slow=False)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_page(page, slow=True)
