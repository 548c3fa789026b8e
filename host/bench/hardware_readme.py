# SPDX-License-Identifier: Apache-2.0
"""Tables of a run of `hls4attn bench hardware` in Markdown.

``python -m hls4attn.host.bench.hardware_readme [README.md [run.json]]`` renews those of the README.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hls4attn.models.errors import InputError, ModelFileError
from hls4attn.models.files import atomic_write

#: The committed run.
COMMITTED = Path(__file__).with_name("hardware.json")
_SIZES = {"LUT": "lut", "LUTRAM": "lutram", "FF": "ff", "DSP": "dsp", "BRAM18": "bram18"}
_FIRST = {False: "unit", True: "attention head, N x D; network"}


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
    """Markdown tables of a run, by the heading of their first column."""
    found = {}
    for fixed, first in _FIRST.items():
        units = [u for u in run["units"] if u["fixed"] == fixed]
        if units:
            head = [first, *_cells(units[0])]
            rows = [[u["title"], *_cells(u).values()] for u in units]
            found[first] = "".join(_row(cells) for cells in (head, ["---"] + ["---:"] * (len(head) - 1), *rows))
    return found


def renewed(text: str, run: Mapping[str, Any]) -> str:
    """A text with its tables replaced by those of a run.

    Raises:
        InputError: if it lacks one of them.
    """
    for first, table in tables(run).items():
        before, start, rest = text.partition(f"\n| {first} |")
        if not start:
            raise InputError(f"There is no table that begins with | {first} |")
        text = "\n".join((before, table, rest.partition("\n\n")[2]))
    return text


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


def main(arguments: Sequence[str]) -> None:
    """Renew the tables of a text from a run: the README's, and the committed run, if nothing else is said."""
    target = Path(arguments[0] if arguments else "README.md")
    run = read_run(Path(arguments[1])) if len(arguments) > 1 else read_run()
    atomic_write(target, renewed(target.read_text(), run).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
