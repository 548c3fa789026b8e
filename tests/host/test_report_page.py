# SPDX-License-Identifier: Apache-2.0
"""Both twins say the same, and nothing in them is anybody else's markup."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from reported import EVIL, page

from hls4attn.host.report import page as pages
from hls4attn.host.report.content import Column, Facts, Log, Note, Picture, Section, Table, Tile
from hls4attn.models.errors import ModelFileError

OUTSIDE = re.compile(
    r"""(?:src|href|srcset|action|data|poster)\s*=\s*["']?\s*(?:https?:)?//|url\(\s*["']?(?:https?:)?//|@import"""
)


class Text(HTMLParser):
    """All text, and the elements that it stands in."""

    def __init__(self):
        super().__init__()
        self.found, self.tags, self.scripts = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.tags.append(tag)

    def handle_data(self, data):
        self.found.append(data)


def parsed(text):
    reader = Text()
    reader.feed(text)
    return reader


def words(text):
    return " ".join(text.split())


def said(content):
    """Every text of a page."""
    yield from (content.title, content.subject, content.lead, content.made)
    for tile in content.tiles:
        yield from (tile.label, tile.value, tile.note)
    for section in content.sections:
        yield section.title
        for block in section.blocks:
            if isinstance(block, Note):
                yield block.text
            elif isinstance(block, Facts):
                yield from (text for row in block.rows for text in row)
            elif isinstance(block, Table):
                yield from (block.title, *(c.title for c in block.columns), *(t for row in block.rows for t in row))
            elif isinstance(block, Picture):
                yield from (block.title, block.text)
            elif isinstance(block, Log):
                yield from (block.title, *block.text.splitlines())
            else:
                yield from block.lines


def test_both_twins_hold_every_text():
    content = page()
    in_html = words(" ".join(parsed(pages.html(content)).found))
    plain = re.sub(r"\\([^\w\s])", r"\1", pages.markdown(content, "x_files"))
    in_markdown = words(plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    for text in said(content):
        assert words(text) in in_html and words(text) in in_markdown, text


def test_markup_in_names_is_inert():
    content = page()
    logs = Section("logs", EVIL, (Log(EVIL, f"{EVIL}</code></pre>{EVIL}"), Note(f"\"{EVIL}\" 'x' </p>")))
    content = replace(content, sections=(*content.sections, logs))
    reader = parsed(pages.html(content))
    assert reader.scripts == 1 and EVIL not in pages.html(content)
    twin = pages.markdown(content, "x_files")
    outside = re.sub(r"^(`{3,})text\n.*?^\1$", "", twin, flags=re.DOTALL | re.MULTILINE)
    assert "<script" not in outside


def test_what_changes_how_other_text_is_shown_is_taken_out():
    """A terminal's colours, letters that turn the order of those behind them, and what is no text at all."""
    odd = "a\u202eb\x1b[31m\x00c"
    blocks = (Note(odd), Facts(((odd, odd),)), Table(odd, (Column(odd),), ((odd,),)), Log(odd, f"x\r\n\ty {odd}"))
    content = page(title=odd, lead=odd, tiles=(Tile(odd, odd, odd),), sections=(Section("s", odd, blocks),))
    for text in (pages.html(content), pages.markdown(content, "x_files")):
        assert not set(text) & set("\u202e\x1b\x00\r") and "x\n\ty a\ufffdb" in text
        assert text.count("a\ufffdb\ufffd[31m\ufffdc") + text.count("a\ufffdb\ufffd\\[31m\ufffdc") >= 11


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("- item", "\\- item"),
        ("+ item", "\\+ item"),
        ("12. item", "12\\. item"),
        ("1) item", "1\\) item"),
        ("---", "\\---"),
        ("===", "\\==="),
        ("https://a.b www.a.b a@b.c", "https\\://a.b www\\.a.b a\\@b.c"),
        ("97.78 % of -3", "97.78 % of -3"),
    ],
)
def test_a_name_at_the_beginning_of_a_line_is_no_list_and_no_link(name, shown):
    twin = pages.markdown(page(lead=name), "x_files").splitlines()
    assert twin[4] == shown


def test_a_number_below_0_in_a_cell_is_left_as_it_is():
    assert "| t | **- 3** | &nbsp; |" in pages.markdown(page(tiles=(Tile("t", "- 3"),)), "x_files")


def test_code_cannot_leave_its_fence():
    twin = pages.markdown(page(), "x_files")
    assert "`````text\nline one\n````\nline two\n`````" in twin


def test_cells_stay_in_their_columns():
    rows = [line for line in pages.markdown(page(), "x_files").splitlines() if "1,024" in line]
    assert rows == ["| b\\|c | 1,024 |"]


def test_nothing_comes_from_elsewhere():
    text = pages.html(page())
    assert not OUTSIDE.search(text)
    assert OUTSIDE.search('<img src="https://a/b.png">') and OUTSIDE.search("a { background: url(//x/y) }")
    assert not OUTSIDE.search(pages.markdown(page(), "x_files"))


def test_the_policy_allows_the_one_script_that_is_there():
    text = pages.html(page())
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


def test_large_and_raster_pictures_are_data(monkeypatch):
    one = page().sections[0]
    picture = Picture("p", "P", "png", b"\x89PNG", 'say "p"')
    text = pages.html(page(sections=(replace(one, blocks=(picture,)),)))
    assert (
        f'<img src="data:image/png;base64,{base64.b64encode(picture.data).decode()}" alt="say &quot;p&quot;">' in text
    )
    monkeypatch.setattr(pages, "INLINE_BYTES", 10)
    assert "data:image/svg+xml;base64," in pages.html(page())


def test_files_are_all_there_or_as_before(tmp_path, monkeypatch):
    target = tmp_path / "out" / "r x.html"
    twin = pages.write(page(), target)
    assert twin == tmp_path / "out" / "r x.md"
    place = re.search(r"!\[A dot\]\(([^)]*)\)", twin.read_text()).group(1)
    assert (twin.parent / place.replace("%20", " ")).read_text().endswith("</svg>")
    before = target.read_bytes()
    monkeypatch.setattr(pages, "markdown", lambda *_: (_ for _ in ()).throw(ModelFileError("full")))
    with pytest.raises(ModelFileError):
        pages.write(page(title="new"), target)
    assert target.read_bytes() == before


def test_json_has_the_content_and_hashes_of_pictures():
    found = page().to_json()
    kinds = [block["kind"] for block in found["sections"][0]["blocks"]]
    assert kinds == ["note", "note", "facts", "table", "table", "picture", "commands", "log"]
    picture = found["sections"][0]["blocks"][5]
    assert len(picture["sha256"]) == 64 and "data" not in picture
