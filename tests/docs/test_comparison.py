# SPDX-License-Identifier: Apache-2.0
"""What the comparison says of others has a place that says so."""

import re

import pytest

from tests.documents import PAGES

TEXT = (PAGES / "comparison.md").read_text()
#: A file at a commit, a pull request, a folder of results or of bitstreams, a paper.
_PLACE = re.compile(
    r"https://(github\.com/[\w.-]+/[\w.-]+/(blob/[0-9a-f]{10}/.+|pull/\d+|(blob|tree)/main/.+)|doi\.org/10\..+)"
)


def cells(text):
    """Row, project and text of every cell about another project."""
    for table in re.findall(r"^\| \| hls4attn \|.*?\n\n", text, re.MULTILINE | re.DOTALL):
        head, _, *rows = ([c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines() if line)
        for row in rows:
            yield from ((row[0], project, cell) for project, cell in zip(head[2:], row[2:], strict=True))


def without_source(text):
    return [cell for cell in cells(text) if "][" not in cell[2] and "†" not in cell[2] and cell[2] != "-"]


def test_every_cell_has_a_source():
    assert len(list(cells(TEXT))) == 80
    assert without_source(TEXT) == []
    assert len(without_source(TEXT.replace("[BERT example][brainsmith-bert]", "BERT example"))) == 1


def test_sources_are_places():
    defined = dict(re.findall(r"^\[([\w-]+)\]: (\S+)$", TEXT, re.MULTILINE))
    assert set(re.findall(r"\]\[([\w-]+)\]", TEXT)) == set(defined)
    assert [url for url in defined.values() if not _PLACE.fullmatch(url)] == []


@pytest.mark.parametrize("url", ["https://github.com/Xilinx/finn", "https://github.com/Xilinx/finn/blob/dev/README.md"])
def test_a_front_page_is_no_place(url):
    assert not _PLACE.fullmatch(url)
