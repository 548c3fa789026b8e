# SPDX-License-Identifier: Apache-2.0
"""``python docs/make`` (`make tables`): renew the drawings, and the tables of the README and the pages.

A table stands between ``<!-- table NAME ARGUMENTS -->`` and ``<!-- end -->``.  With ``--check`` nothing is written:
what would change is named, and the exit status is 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import records
import tables
from beside import comparison
from curves import FIGURES
from datapaths_cells import gaincell
from datapaths_norm import DRAWINGS as NORMS
from datapaths_score import DRAWINGS as SCORES
from excerpts import code

from hls4attn.models.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "pages"
TABLES = {**tables.TABLES, **records.TABLES, "comparison": comparison, "code": code}
DRAWINGS = {**SCORES, **NORMS, "gaincell": gaincell}
_MARKED = re.compile(r"(<!-- table ([\w-]+)((?: [^\s>]+)*) -->\n).*?(<!-- end -->)", re.DOTALL)
_MARK = re.compile(r"<!-- (?:table|end)\b")


def renewed(text: str, where: str) -> str:
    """A page with its tables as they are now.

    Raises:
        SystemExit: if a table is not known, or a mark lacks its other half.
    """
    if len(_MARK.findall(text)) != 2 * len(_MARKED.findall(text)):
        sys.exit(f"{where}: a table lacks its <!-- table NAME --> or its <!-- end -->")

    def table(found: re.Match[str]) -> str:
        if found[2] not in TABLES:
            sys.exit(f"{where}: there is no table {found[2]!r}; known: {', '.join(TABLES)}")
        return f"{found[1]}\n{TABLES[found[2]](*found[3].split())}\n{found[4]}"

    return _MARKED.sub(table, text)


def contents() -> Iterator[tuple[Path, str]]:
    """Every file with what belongs in it."""
    for page in (ROOT / "README.md", *sorted(PAGES.rglob("*.md"))):
        text = page.read_text(encoding="utf-8")
        if _MARK.search(text):
            yield page, renewed(text, str(page.relative_to(ROOT)))
    for made, kind in ((DRAWINGS, "datapath"), (FIGURES, "curves")):
        for name, draw in made.items():
            yield PAGES / "img" / f"{name}_{kind}.svg", draw().svg()


def main(arguments: list[str]) -> int:
    """Write or compare; the exit status."""
    stale = [(path, text) for path, text in contents() if not path.is_file() or path.read_text("utf-8") != text]
    for path, text in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is not what make tables writes")
        else:
            atomic_write(path, text.encode())
            print(f"wrote {path.relative_to(ROOT)}")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
