# SPDX-License-Identifier: Apache-2.0
"""Python values as Tcl words that no substitution changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Value: TypeAlias = "str | int | float | Sequence[Value]"
_BARE = re.compile(r"[A-Za-z0-9_./:*+,%@=-]+")
_SPECIAL = re.compile(r'[\s\\"$\[\]{};#]')
WIDTH = 100


def word(value: Value) -> str:
    """One Tcl word; a sequence becomes a list.

    Args:
        value: text, a number, or a sequence of such.

    Returns:
        Text that Tcl reads back as exactly the value.
    """
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        if _BARE.fullmatch(value):
            return value
        if re.fullmatch(r"[^\\{}]*", value):
            return "{" + value + "}"
        return _SPECIAL.sub(_escape, value)
    return "{" + " ".join(word(item) for item in value) + "}"


def variables(namespace: str, values: Mapping[str, Value]) -> str:
    """Tcl that sets the variables of a namespace, long lists an item a line."""
    lines = [f"namespace eval {namespace} {{"]
    for name, value in values.items():
        lines += _lines(f"    variable {name} ", value, "    ")
    return "\n".join([*lines, "}", ""])


def _lines(before: str, value: Value, indent: str) -> list[str]:
    """A word after `before`; a list that is too long for a line has an item a line."""
    line = before + word(value)
    if len(line) <= WIDTH or isinstance(value, (str, int, float)):
        return [line]
    deeper = indent + "    "
    return [before + "{", *(text for item in value for text in _lines(deeper, item, deeper)), indent + "}"]


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character, "\\" + character)
