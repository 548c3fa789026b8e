# SPDX-License-Identifier: Apache-2.0
"""`make test-boards` runs what drives a board, with every version of PYNQ that a board has."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements-board"
DRIVES = re.compile(r"\bEmulated(Device|Board)\b|import_pynq")
NEEDS_MORE = re.compile(
    r"\b(onnx|tensorflow|qkeras|hls4ml)\b|host\.(cli|flow|verbs|demo|operator_models|operators_overlay)\b"
)


def listed() -> set[str]:
    return {line for line in (FOLDER / "tests.txt").read_text().splitlines() if not line.startswith("#")}


def test_the_list_names_files_that_are_there() -> None:
    assert listed()
    assert {path for path in listed() if not (ROOT / path).is_file()} == set()


def test_what_drives_an_emulated_board_is_listed() -> None:
    """Unless it needs packages that no board has."""
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests" / "host").glob("test_*.py")
        if DRIVES.search(path.read_text()) and not NEEDS_MORE.search(path.read_text())
    }
    missing = found - listed()
    assert missing == set(), f"add to requirements-board/tests.txt: {sorted(missing)}"


def test_every_version_has_its_requirements() -> None:
    versions = re.search(r"^BOARD_PYNQ := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert versions is not None
    assert {f"pynq-{v}.txt" for v in versions[1].split()} == {p.name for p in FOLDER.glob("pynq-*.txt")}
    for version in versions[1].split():
        assert f"\npynq=={version}\n" in (FOLDER / f"pynq-{version}.txt").read_text()
