# SPDX-License-Identifier: Apache-2.0
"""Pieces of the example's files, as a page shows them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from textwrap import dedent

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "add_operator" / "squared_relu"
_LANGUAGES = {".py": "py", ".h": "cpp", ".sv": "systemverilog"}


def code(file: str, *names: str) -> str:
    """Functions and constants of a Python file by name; of others, what a line with that word begins."""
    path = FOLDER / file
    text = path.read_text(encoding="utf-8")
    pick = _named if path.suffix == ".py" else _begun
    parts = [dedent("\n".join(pick(text.splitlines(), name) or sys.exit(f"{path}: no {name}"))) for name in names]
    return f"```{_LANGUAGES[path.suffix]}\n" + "\n\n\n".join(parts) + "\n```\n"  # as ruff has it in pages


def _named(lines: Sequence[str], name: str) -> Sequence[str]:
    for node in ast.walk(ast.parse("\n".join(lines))):
        targets = node.targets if isinstance(node, ast.Assign) else [node]
        if name in (getattr(t, "id", getattr(t, "name", None)) for t in targets) and isinstance(node, ast.stmt):
            return lines[node.lineno - 1 : node.end_lineno]
    return []


def _begun(lines: Sequence[str], word: str) -> Sequence[str]:
    """The line, all that are indented more, and the one that ends them."""
    first = next((n for n, line in enumerate(lines) if word in line and not line.startswith("//")), None)
    if first is None:
        return []
    depth = len(lines[first]) - len(lines[first].lstrip())
    inner = list(takewhile(lambda line: not line or line[: depth + 1].isspace(), lines[first + 1 :]))
    return lines[first : first + len(inner) + 2]
