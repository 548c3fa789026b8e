# SPDX-License-Identifier: Apache-2.0
"""Tables of a run of `hls4attn bench hardware` in Markdown; `make tables` puts them into the pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hls4attn.models.errors import ModelFileError

#: The committed run.
COMMITTED = Path(__file__).with_name("hardware.json")
_SIZES = {"LUT": "lut", "LUTRAM": "lutram", "FF": "ff", "DSP": "dsp", "BRAM18": "bram18"}
#: Heading of the first column, by what a table is of.
_FIRST = {"units": "unit", "heads": "attention head, N x D; network"}


def read_run(path: Path = COMMITTED) -> dict[str, Any]:
    """A run's JSON.

    Raises:
        ModelFileError: if it is not there, or something else.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        for unit in found["units"]:
            _cells(unit)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path} is missing or not what hls4attn bench hardware writes: {error}") from error
    return found


def tables(run: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables of a run: `units`, and `heads` with whole networks; one that has no rows is left out."""
    found = {}
    for name, first in _FIRST.items():
        units = [u for u in run["units"] if u["fixed"] == (name == "heads")]
        if units:
            head = [first, *_cells(units[0])]
            found[name] = markdown_table(head, [[u["title"], *_cells(u).values()] for u in units])
    return found


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table, numbers to the right; the first column is text."""
    return "".join(_row(cells) for cells in (head, ["---"] + ["---:"] * (len(head) - 1), *rows))


def _cells(unit: Mapping[str, Any]) -> dict[str, str]:
    """Cells of a unit's row behind its title, by column."""
    longest = max(unit["cycles"], key=int)
    clocks = unit["cycles"][longest]
    found = {name: f"{unit['size'][key]:,}" for name, key in _SIZES.items()}
    found["LUT, 0 DSP"] = _or_dash(unit["without_dsp"], lambda size: f"{size['lut']:,}")
    found["clocks" if unit["fixed"] else "clocks a row"] = f"{clocks['interval']:,.6g}"
    found["latency"] = f"{clocks['latency']:,}"
    found["ECP5 MHz"] = _or_dash(unit["ecp5"], lambda speed: f"{speed['median']:.0f}")
    if not unit["fixed"]:
        found["toggles"] = _or_dash(unit["toggles"], lambda active: f"{active['per_row']:,.0f}")
        found["error"] = _or_dash(unit["error"], lambda error: f"{error[longest]:.3f}")
    return found


def _or_dash(figure: Any, cell: Callable[[Any], str]) -> str:
    return cell(figure) if figure else "-"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
