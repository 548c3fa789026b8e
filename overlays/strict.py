# SPDX-License-Identifier: Apache-2.0
"""Strict reading of JSON and TOML: exact keys, exact types, bounded sizes, nothing guessed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hls4attn.models.errors import ModelFileError

Kind = type | tuple[type, ...]
NUMBER = (int, float)


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes.

    Raises:
        ModelFileError: if it is missing, unreadable, no regular file or larger.
    """
    try:
        if not path.is_file():
            raise ModelFileError(f"{path}: no such file")
        size = path.stat().st_size
        if size > limit:
            raise ModelFileError(f"{path}: {size} bytes; at most {limit} are accepted")
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from error


def parse_json(text: bytes | str, where: str) -> Any:
    """JSON without duplicate keys and without NaN or Infinity.

    Raises:
        ModelFileError: if the text is anything else, or truncated.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = sorted({key for key in keys if keys.count(key) > 1})
            raise ModelFileError(f"{where}: key given twice: {', '.join(twice)}")
        return found

    def constant(name: str) -> Any:
        raise ModelFileError(f"{where}: {name} is not a number")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except ModelFileError:
        raise
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError, over-long integers
        raise ModelFileError(f"{where}: not valid JSON (truncated?): {error}") from error


def fields(
    data: Any, where: str, required: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None
) -> dict[str, Any]:
    """Check that `data` is a table with exactly these keys, each of its type.

    Args:
        data: what was read.
        where: how to name it in an error.
        required: keys that must be there, with their type or types.
        optional: keys that may be there.

    Raises:
        ModelFileError: naming every missing or unknown key, or the first value of the wrong type.
    """
    if not isinstance(data, dict):
        raise ModelFileError(f"{where}: expected a table of keys. Received: {type(data).__name__}")
    kinds = {**required, **(optional or {})}
    unknown, missing = sorted(set(data) - set(kinds)), sorted(set(required) - set(data))
    if unknown or missing:
        parts = [f"unknown: {', '.join(unknown)}"] * bool(unknown) + [f"missing: {', '.join(missing)}"] * bool(missing)
        raise ModelFileError(f"{where}: wrong keys ({'; '.join(parts)}). Known: {', '.join(kinds)}")
    for key, value in data.items():
        kind = kinds[key]
        # bool is an int in Python, but `true` is no clock frequency
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise ModelFileError(f"{where}: {key} must be {names}. Received: {value!r:.80}")
    return data
