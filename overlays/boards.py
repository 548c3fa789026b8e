# SPDX-License-Identifier: Apache-2.0
"""The boards an overlay can be designed for, read from `boards.toml`."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from hls4attn.models.errors import ModelFileError, SpecError, UnsupportedError
from hls4attn.overlays import strict

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover  # Python 3.10, the PYNQ 3.1 images
    import tomli as tomllib

Family = Literal["zynq", "zynquplus"]

ENVIRONMENT = "HLS4ATTN_BOARDS"  #: a file with further boards, where none is named
MAX_BYTES = 1 << 20
#: Frequency that the IO PLL of a family is near in the presets of most boards, before the output divider.
IO_PLL_MHZ = {"zynq": 1000.0, "zynquplus": 3000.0}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_RELEASE = re.compile(r"\d{1,3}(\.\d{1,3}){1,3}")
_PART = {
    "zynq": re.compile(r"(?P<device>xc7z\d{3}s?)(?P<package>[a-z]{3}\d+)(?P<speed>-\w+)"),
    "zynquplus": re.compile(r"(?P<device>xc[a-z]+\d+\w*)-(?P<package>[a-z]+\d+)(?P<speed>-\w+-\w+)"),
}
_REQUIRED: dict[str, strict.Kind] = {
    "family": str,
    "part": str,
    "board_part": str,
    "hp_width": int,
    "ps_clock_mhz": strict.NUMBER,
    "cma_mb": int,
}
_OPTIONAL: dict[str, strict.Kind] = {
    "board_connections": str,
    "io_pll_feedback": int,
    "pynq": list,
    "lut": int,
    "ff": int,
    "dsp": int,
    "bram36": int,
}


@dataclass(frozen=True)
class Board:
    """A board with a Zynq or a Zynq UltraScale+ device.

    Args:
        name: lower-case name, as used on the command line.
        family: `zynq` or `zynquplus`.
        part: Vivado part, with package and speed grade.
        board_part: Vivado board_part.
        hp_width: width in bits of the PS high-performance slave port.
        ps_clock_mhz: PS reference clock in MHz.
        cma_mb: contiguous memory for buffers, in MiB.
        board_connections: Vivado board_connections, for a module on a carrier card.
        io_pll_feedback: feedback divider of the IO PLL in the board's preset; 0 for that of most boards of the family.
        pynq: releases of PYNQ that run on it, such as `3.1.2`; empty if not known.
        lut: look-up tables of the part, where known; likewise `ff`, `dsp` and `bram36`.
        ff: flip-flops.
        dsp: DSP slices.
        bram36: 36 Kib block memories.

    Raises:
        SpecError: for values that no such board has.
    """

    name: str
    family: Family
    part: str
    board_part: str
    hp_width: int
    ps_clock_mhz: float
    cma_mb: int
    board_connections: str | None = None
    io_pll_feedback: int = 0
    pynq: tuple[str, ...] = ()
    lut: int | None = None
    ff: int | None = None
    dsp: int | None = None
    bram36: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SpecError(f"A board name is lower-case letters, digits, - and _. Received: {self.name!r}")
        where = f"board {self.name}"
        if self.family not in get_args(Family):
            raise SpecError(f"{where}: family must be one of {get_args(Family)}. Received: {self.family!r}")
        if not _PART[self.family].fullmatch(self.part):
            raise SpecError(
                f"{where}: {self.part!r} is no {self.family} part such as xc7z020clg400-1 or xczu3eg-sfvc784-2-e"
            )
        if not re.fullmatch(r"[\w.:-]{3,200}", self.board_part):
            raise SpecError(f"{where}: {self.board_part!r} is no Vivado board_part")
        if self.board_connections is not None and not re.fullmatch(r"[\w.: -]{3,500}", self.board_connections):
            raise SpecError(f"{where}: {self.board_connections!r} are no Vivado board_connections")
        if self.hp_width not in (32, 64, 128):
            raise SpecError(f"{where}: hp_width must be 32, 64 or 128. Received: {self.hp_width}")
        self._check_numbers(where)
        for release in self.pynq:
            if not isinstance(release, str) or not _RELEASE.fullmatch(release):
                raise SpecError(f"{where}: pynq lists releases such as '3.1.2'. Received: {release!r:.40}")

    def _check_numbers(self, where: str) -> None:
        if self.io_pll_feedback == 0 and self.ps_clock_mhz > 0:
            object.__setattr__(self, "io_pll_feedback", round(IO_PLL_MHZ[self.family] / self.ps_clock_mhz))
        for key, low, high in (("ps_clock_mhz", 10, 100), ("io_pll_feedback", 10, 125), ("cma_mb", 1, 1024)):
            if not low <= getattr(self, key) <= high:
                raise SpecError(f"{where}: {key} must be {low} to {high}. Received: {getattr(self, key)}")
        for key in ("lut", "ff", "dsp", "bram36"):
            value = getattr(self, key)
            if value is not None and value < 0:
                raise SpecError(f"{where}: {key} must not be negative. Received: {value}")

    @property
    def device(self) -> str:
        """Device without package and speed grade, such as `xc7z020`."""
        return self._part_group("device")

    @property
    def package(self) -> str:
        """Package, such as `clg400`."""
        return self._part_group("package")

    @property
    def speed(self) -> str:
        """Speed and temperature grade with its dash, such as `-1` or `-2-e`."""
        return self._part_group("speed")

    @property
    def speed_grade(self) -> str:
        """Speed grade alone, as a handoff has it, such as `-1` or `-2LV`."""
        return "-" + self.speed.split("-")[1]

    def _part_group(self, group: str) -> str:
        found = _PART[self.family].fullmatch(self.part)
        return found[group] if found else ""  # __post_init__ refuses a part that does not match

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the fields that are not known."""
        known = {key: value for key, value in asdict(self).items() if value not in (None, ())}
        return known | ({"pynq": list(self.pynq)} if self.pynq else {})

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Board:
        """The inverse of `to_dict`; `where` names the source in errors."""
        data = strict.fields(data, where, {"name": str, **_REQUIRED}, _OPTIONAL)
        return cls(**{**data, "ps_clock_mhz": float(data["ps_clock_mhz"]), "pynq": tuple(data.get("pynq", ()))})


def load_boards(extra: Path | None = None) -> dict[str, Board]:
    """All known boards by name.

    Args:
        extra: a TOML file of the same form as `boards.toml`; its boards are added, and replace a board of
            the same name.  Without it, the file that the environment variable HLS4ATTN_BOARDS names, if any.

    Raises:
        ModelFileError: if the file is missing or malformed, naming the table and key.
        SpecError: if a value is impossible.
    """
    named = os.environ.get(ENVIRONMENT)
    if extra is None and not named:
        return dict(_builtin())
    try:
        return _builtin() | _read(extra or Path(named or ""))
    except (ModelFileError, SpecError) as error:
        source = "" if extra else f" (the file is named by {ENVIRONMENT})"
        raise type(error)(f"{error}{source}") from error


def use_boards(extra: Path | None) -> None:
    """Let all later look-ups of this process and its children know the boards of a file; none changes nothing.

    Raises:
        ModelFileError: as `load_boards`, now.
        SpecError: likewise.
    """
    if extra is not None:
        load_boards(extra)
        os.environ[ENVIRONMENT] = str(extra.absolute())


def board(name: str, extra: Path | None = None) -> Board:
    """The board called `name`; upper and lower case are the same, as in the BOARD variable of PYNQ images.

    Args:
        name: of the board.
        extra: as `load_boards`.

    Raises:
        UnsupportedError: for an unknown name; the message lists the known ones.
    """
    boards = load_boards(extra)
    found = boards.get(name.lower())
    if found is None:
        raise UnsupportedError(
            f"Unknown board {name!r}. Known: {', '.join(sorted(boards))}. Describe another board in a TOML file of the "
            f"form of overlays/boards.toml, and name the file with --boards or {ENVIRONMENT}"
        )
    return found


@cache
def _builtin() -> dict[str, Board]:
    return _read(Path(__file__).with_name("boards.toml"))


def _read(path: Path) -> dict[str, Board]:
    try:
        tables = tomllib.loads(strict.read_bytes(path, MAX_BYTES).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path}: not valid TOML: {error}") from error
    boards = {}
    for name, table in tables.items():
        strict.fields(table, f"{path}: [{name}]", _REQUIRED, _OPTIONAL)
        try:
            boards[name] = Board.from_dict({"name": name, **table}, f"{path}: [{name}]")
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from error
    return boards
