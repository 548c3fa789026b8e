# SPDX-License-Identifier: Apache-2.0
"""What a user may choose about a hardware project."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hls4attn.models.errors import UnsupportedError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BACKENDS = ("Vitis", "Vivado")
IO_TYPES = ("io_parallel", "io_stream")
_PART = re.compile(r"xc[a-z0-9]+-?[a-z0-9-]*", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_RESERVED = frozenset(
    ("auto", "char", "do", "double", "else", "float", "for", "if", "int", "long", "main", "new", "short", "void")
)


@dataclass(frozen=True)
class HlsConfig:
    """Choices for one project; every field reaches the hardware.

    Args:
        backend: 'Vitis' (Vitis HLS) or 'Vivado' (Vivado HLS).
        io_type: how values travel between kernels; 'io_parallel': arrays, one kernel after the other;
            'io_stream': row by row, all kernels at once.
        part: the FPGA, as Vivado names it.
        clock_period_ns: target clock period.
        reuse_factor: cycles between two rows of every kernel: more cycles, fewer multipliers.  In io_stream: attention
            takes a head in parts of ceil(head_dim / reuse_factor) elements; all other kernels keep its pace.
        layer_reuse_factor: the same for single hardware nodes, by name (io_stream: cycles a row; attention as above).
        lanes: keys that a streaming attention takes at a time; 0: up to 4, of tables in Vivado HLS up to 2.
        parallel_heads: heads that a streaming attention takes at a time.
        project_name: name of the top function and its files.

    Raises:
        UnsupportedError: for a value that no stage could honour.
    """

    backend: str = "Vitis"
    io_type: str = "io_parallel"
    part: str = "xc7z020clg400-1"
    clock_period_ns: float = 10.0
    reuse_factor: int = 1
    layer_reuse_factor: Mapping[str, int] = field(default_factory=dict)
    lanes: int = 0
    parallel_heads: int = 1
    project_name: str = "attn"

    def __post_init__(self) -> None:
        _one_of("backend", self.backend, BACKENDS)
        _one_of("io_type", self.io_type, IO_TYPES)
        if not isinstance(self.part, str) or not _PART.fullmatch(self.part):
            raise UnsupportedError(f"part must be a Xilinx part such as 'xc7z020clg400-1'. Received: {self.part!r}")
        period = self.clock_period_ns
        if isinstance(period, bool) or not isinstance(period, int | float) or not 0.5 <= period <= 1000:
            raise UnsupportedError(f"clock_period_ns must be 0.5 to 1000. Received: {period!r}")
        object.__setattr__(self, "clock_period_ns", float(period))
        _check_number("reuse_factor", self.reuse_factor)
        _check_number("lanes", self.lanes, 0)
        _check_number("parallel_heads", self.parallel_heads)
        if self.io_type == "io_parallel" and (self.lanes, self.parallel_heads) != (0, 1):
            raise UnsupportedError(
                "lanes and parallel_heads have no effect on io_type='io_parallel'; remove them, or choose io_stream "
                "(--io io_stream)"
            )
        if not isinstance(self.layer_reuse_factor, Mapping):
            raise UnsupportedError(
                f"layer_reuse_factor must map node names to numbers. Received: {self.layer_reuse_factor!r}"
            )
        for name, value in self.layer_reuse_factor.items():
            _check_number(f"layer_reuse_factor of {name!r}", value)
        object.__setattr__(self, "layer_reuse_factor", dict(sorted(self.layer_reuse_factor.items())))
        name = self.project_name
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _RESERVED:
            raise UnsupportedError(f"project_name must be a C identifier. Received: {name!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HlsConfig:
        """A configuration from plain values.

        Raises:
            UnsupportedError: for unknown keys or values.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UnsupportedError(f"Unknown configuration keys {unknown}; known: {', '.join(sorted(known))}")
        return cls(**values)

    @classmethod
    def from_toml(cls, path: Path, **absent: Any) -> HlsConfig:
        """A configuration from a TOML file, from its ``[hls]`` table if it has one.

        Args:
            path: the file.
            **absent: values for the keys that the file does not have.

        Raises:
            UnsupportedError: if the file is missing, no TOML, has unknown keys, or keys beside the table.
        """
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UnsupportedError(f"Cannot read configuration {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UnsupportedError(f"{path} is not valid TOML: {error}") from error
        table = values.pop("hls", None)
        if table is None:
            table, values = values, {}
        if not isinstance(table, dict):
            raise UnsupportedError(f"{path}: hls must be a table, [hls]. Received: {table!r}")
        if values:
            raise UnsupportedError(f"{path}: keys {sorted(values)} beside the [hls] table; move them into it")
        try:
            return cls.from_dict({**absent, **table})
        except UnsupportedError as error:
            raise UnsupportedError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the inverse of `from_dict`."""
        return asdict(self)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UnsupportedError(f"{name} must be one of: {', '.join(allowed)}. Received: {value!r}")


def _check_number(name: str, value: Any, low: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= 65536:
        raise UnsupportedError(f"{name} must be a whole number from {low} to 65536. Received: {value!r}")
