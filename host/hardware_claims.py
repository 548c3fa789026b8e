# SPDX-License-Identifier: Apache-2.0
"""Figures of streaming units for the claims table, from the committed run of `hls4attn bench hardware`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hls4attn.models.errors import ModelFileError

BENCH = "hls4attn bench hardware"


def _hardware(name: str) -> dict[str, Any]:
    """Committed figures of a streaming unit."""
    path = Path(__file__).parent / "bench" / "hardware.json"
    try:
        found: dict[str, Any] = next(u for u in json.loads(path.read_text())["units"] if u["name"] == name)
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise ModelFileError(f"{path} is missing or not what {BENCH} writes: {error}") from error
    return found


def sizes(ours: str, other: str) -> str:
    """Estimated sizes of two streaming units for rows of 1,024, in words.

    Raises:
        ModelFileError: if the committed figures are not there.
    """
    parts = []
    for unit in map(_hardware, (ours, other)):
        size = unit["size"]
        logic = f"{size['lut'] + size['lutram']} LUT" + (f" ({size['lutram']} as memory)" if size["lutram"] else "")
        parts.append(f"{unit['title']} {logic}, {size['ff']} FF, {size['dsp']} DSP, {size['bram18']} BRAM18")
    return f"{' against '.join(parts)} ({_hardware(ours)['size']['tool']}, xc7, an estimate)"


def changes(ours: str, other: str) -> str:
    """Changes of nets of two streaming units' netlists, in words.

    Raises:
        ModelFileError: if the committed figures are not there.
    """
    one, two = map(_hardware, (ours, other))
    first, second = (unit["toggles"]["per_row"] for unit in (one, two))
    return (
        f"{one['title']} {first:,.0f} changes of nets a row of 64 against {two['title']} {second:,.0f}: "
        f"x{second / first:.1f}"
    )
