# SPDX-License-Identifier: Apache-2.0
"""The streaming unit of an operator: which module, with which constants and table contents.

Every unit has the same ports::

    s_tdata, s_tuser, s_tlast --> op_<name> --> m_tdata, m_tlast        one element a clock, TLAST ends a row

``s_tuser = {keep, head}``: an element with ``keep = 0`` is masked, `head` selects the constants of a head.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.models.errors import SpecError, UnsupportedError
from hls4attn.models.formats import Codes

#: Longest row of a unit if nothing else is said.
ROW_MAX = 1024

#: Module that builds the unit of an operator, by the operator's `op_type`; each has a function `unit`.
_MODULES = {
    "ConSmax": "consmax",
    "ConSmaxSplit": "consmax",
    "E2Softmax": "e2softmax",
    "IntegerSoftmax": "softmax",
    "IntegerLayerNorm": "layernorm",
    "AILayerNorm": "ailayernorm",
    "GainCell": "gaincell",
}

#: What builds the units of other packages' operators, by `op_type`: from a spec and the longest row.
FURTHER_UNITS: dict[str, Callable[[Any, int], RtlUnit]] = {}


def rtl_dir() -> Path:
    """Folder of the Verilog sources."""
    return Path(__file__).resolve().parent


@dataclass(frozen=True, eq=False)
class Rom:
    """Contents of a table that a module reads with ``$readmemh``.

    Args:
        words: entries in the order of their addresses; negative ones are stored in two's complement.
        width: bits of an entry.
        lanes: entries that are read at once, the first in the low bits.

    Raises:
        SpecError: for entries that do not fit.
    """

    words: Codes
    width: int
    lanes: int = 1

    def __post_init__(self) -> None:
        words = np.ascontiguousarray(self.words, dtype=np.int64).ravel()
        object.__setattr__(self, "words", words)
        if not words.size or not 1 <= self.width <= 64:
            raise SpecError(f"A table has entries of 1 to 64 bits. Received: {words.size} of {self.width} bits")
        if self.lanes < 1 or words.size % self.lanes:
            raise SpecError(f"{words.size} entries are no words of {self.lanes} each")
        low = int(words.min())
        high = max(int(words.max()), -low - 1 if low < 0 else 0)
        if high >> (self.width - (1 if low < 0 else 0)):
            raise SpecError(f"Entries {low} to {int(words.max())} do not fit into {self.width} bits")

    def text(self) -> str:
        """The file: a hexadecimal word a line, with a newline behind the last (some readers drop it otherwise)."""
        mask, digits = (1 << self.width) - 1, -(-self.lanes * self.width // 4)
        text = []
        for entries in self.words.reshape(-1, self.lanes).tolist():
            word = 0
            for entry in reversed(entries):
                word = word << self.width | entry & mask
            text.append(f"{word:0{digits}x}\n")
        return "".join(text)


@dataclass(frozen=True, eq=False)
class RtlUnit:
    """A streaming unit, complete with what has to be filled in.

    Attributes:
        module: name of the top module.
        files: paths of its sources below `rtl_dir`, the top module's included unless it is in `texts`.
        parameters: integer parameters of the top module; all that differ from a module's default.
        roms: table contents, by the name of the string parameter that takes the file's name.
        in_width: bits of ``s_tdata``, 1 to 64.
        out_width: bits of ``m_tdata``, 1 to 64.
        user_width: bits of ``s_tuser``: `head_bits` and one for `keep`; 1 for units that ignore it.
        in_signed: whether ``s_tdata`` is in two's complement.
        out_signed: whether ``m_tdata`` is.
        heads: number of heads.
        row_max: longest row.
        texts: sources that were written for this unit alone, by file name.
    """

    module: str
    files: tuple[str, ...]
    parameters: Mapping[str, int] = field(default_factory=dict)
    roms: Mapping[str, Rom] = field(default_factory=dict)
    in_width: int = 8
    out_width: int = 8
    user_width: int = 2
    in_signed: bool = True
    out_signed: bool = False
    heads: int = 1
    row_max: int = ROW_MAX
    texts: Mapping[str, str] = field(default_factory=dict)

    def sources(self) -> dict[str, str]:
        """Text of every source, by file name.

        Raises:
            SpecError: for one that is not there.
        """
        found = {}
        for path in (rtl_dir() / name for name in self.files):
            if not path.is_file():
                raise SpecError(f"{self.module}: no source {path.name} in {path.parent}")
            found[path.name] = path.read_text(encoding="utf-8")
        return found | dict(self.texts)

    def rom_files(self) -> dict[str, str]:
        """Name of the file of each table, by parameter."""
        return {name: f"{self.module}_{name.lower()}.mem" for name in self.roms}

    def top(self, name: str) -> str:
        """Verilog of a module without parameters: the unit with all of its constants, its tables beside it."""
        settings = [f".{key}({value})" for key, value in self.parameters.items()]
        settings += [f'.{key}("{file}")' for key, file in self.rom_files().items()]
        ports = {
            "s_tdata": self.in_width,
            "s_tuser": self.user_width,
            "s_tvalid": 1,
            "s_tlast": 1,
            "m_tready": 1,
            "s_tready": -1,
            "m_tdata": -self.out_width,
            "m_tvalid": -1,
            "m_tlast": -1,
        }  # outputs are the negative ones
        declared = ["input wire clk", "input wire rst_n"]
        for port, width in ports.items():
            declared.append(f"{'output' if width < 0 else 'input'} wire [{abs(width) - 1}:0] {port}")
        wires = ",\n    ".join(f".{port}({port})" for port in ("clk", "rst_n", *ports))
        return (
            "// SPDX-License-Identifier: Apache-2.0\n`default_nettype none\n"
            f"module {name} (\n    " + ",\n    ".join(declared) + "\n);\n"
            f"{self.module} #(\n    " + ",\n    ".join(settings) + f"\n) unit (\n    {wires}\n);\n"
            "endmodule\n`default_nettype wire\n"
        )


def head_bits(heads: int) -> int:
    """Bits of the head number in ``s_tuser``; one at least, so that the field exists."""
    return max(1, (heads - 1).bit_length())


def rtl_unit(spec: Any, row_max: int = ROW_MAX) -> RtlUnit:
    """The streaming unit of an operator.

    Args:
        spec: spec of a score function, of a norm, or of a gain-cell head.
        row_max: longest row that the unit takes; norms take rows of their channels only.

    Raises:
        UnsupportedError: for an operator, or an option of one, without a unit.
    """
    name = getattr(spec, "op_type", type(spec).__name__)
    if name not in _MODULES and name not in FURTHER_UNITS:
        known = ", ".join(sorted({*_MODULES, *FURTHER_UNITS}))
        raise UnsupportedError(f"No streaming unit for {name}; there are units for {known}")
    if not 1 <= row_max <= 1 << 20:
        raise SpecError(f"{name}: row_max must be 1 to {1 << 20}. Received: {row_max}")
    if name in FURTHER_UNITS:
        return FURTHER_UNITS[name](spec, row_max)
    unit: RtlUnit = importlib.import_module(f"hls4attn.hls.rtl.{_MODULES[name]}").unit(spec, row_max)
    return unit
