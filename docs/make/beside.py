# SPDX-License-Identifier: Apache-2.0
"""The README's part of the comparison: rows of the page, with its links written out."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "pages" / "comparison.md"
_ROWS = (
    "run on a board",
    "attention",
    "softmax",
    "software against kernels",
    "logic shared over time",
    "a first check of the hardware needs",
)
_PROJECTS = ("hls4attn", "hls4ml", "FINN", "Brainsmith", "alkaid")


def comparison() -> str:
    """Rows and columns of the page's two tables as one table."""
    page = PAGE.read_text(encoding="utf-8")
    places = dict(re.findall(r"^\[([\w-]+)\]: (\S+)$", page, re.MULTILINE))
    found: dict[tuple[str, str], str] = {}
    for table in re.findall(r"^\| \| hls4attn \|.*?\n\n", page, re.MULTILINE | re.DOTALL):
        head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line)
        found |= {(row[0], project): cell for row in rows for project, cell in zip(head[1:], row[1:], strict=True)}
    lines = [["", *_PROJECTS], ["---"] * (len(_PROJECTS) + 1)]
    lines += [[row, *(found[row, project] for project in _PROJECTS)] for row in _ROWS]
    text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return re.sub(r"\]\[([\w-]+)\]", lambda link: f"]({places[link[1]]})", text)
