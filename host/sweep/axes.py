# SPDX-License-Identifier: Apache-2.0
"""One group of a sweep's plan: axes, whose product are its points; everything is checked before anything runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hls4attn.hls.config import HlsConfig
from hls4attn.host.connect import DEFAULT_BOARD
from hls4attn.host.sweep.sources import ModelSource, board_source, calibration_source, model_source
from hls4attn.models.errors import Hls4attnError, InputError
from hls4attn.models.quantise.plan import QuantisePlan
from hls4attn.overlays.boards import board as find_board

FIT = "fit"
QUANTISE = {f.name: f.default for f in fields(QuantisePlan)}
HARDWARE: dict[str, Any] = {
    "backend": "Vitis",
    "io_type": "io_stream",
    "board": DEFAULT_BOARD,
    "clock_period_ns": 10.0,
    "reuse_factor": None,  # "fit" in io_stream, else 1, as everywhere
    "lanes": 0,
    "parallel_heads": 1,
}
#: All axes, in the order in which a grid runs through them, the last one fastest.
AXES = ("model", "calibration", *QUANTISE, *HARDWARE)


@dataclass(frozen=True)
class Group:
    """A product of axes.

    Attributes:
        where: how errors call it.
        values: of each axis of `AXES`; models and calibrations as `ModelSource`, None for what has no meaning.
        boards: what a point keeps about each board.
    """

    where: str
    values: Mapping[str, tuple[Any, ...]]
    boards: Mapping[str, Mapping[str, str | None]]

    @property
    def size(self) -> int:
        """How many points it has."""
        return math.prod(len(v) for v in self.values.values())

    def settings(self, number: int) -> dict[str, Any]:
        """What one point of the product is made of.

        Args:
            number: 0 to ``size - 1``.
        """
        chosen: dict[str, Any] = {}
        for axis in reversed(AXES):
            number, place = divmod(number, len(self.values[axis]))
            chosen[axis] = self.values[axis][place]
        if chosen["reuse_factor"] is None:
            chosen["reuse_factor"] = default_reuse(chosen["io_type"])
        settings: dict[str, Any] = {}
        for axis in AXES:
            value = chosen[axis]
            if axis in ("model", "calibration"):
                settings[axis] = None if value is None else value.name
                settings[f"{axis}_sha256"] = None if value is None else value.sha256
            else:
                settings[axis] = value
        return settings | dict(self.boards[settings["board"]])

    def shares_with(self, other: Group) -> bool:
        """Whether a point belongs to both groups."""

        def identities(group: Group, axis: str) -> set[Any]:
            values = group.values[axis]
            return {v.identity if isinstance(v, ModelSource) else v for v in values}

        shared = {axis: identities(self, axis) & identities(other, axis) for axis in AXES if axis != "reuse_factor"}
        if not all(shared.values()):
            return False
        return any(self._reuse(io) & other._reuse(io) for io in shared["io_type"])

    def _reuse(self, io_type: str) -> set[Any]:
        return {default_reuse(io_type) if r is None else r for r in self.values["reuse_factor"]}


def default_reuse(io_type: str) -> int | str:
    """The reuse factor where the plan names none, as for the other verbs."""
    return FIT if io_type == "io_stream" else 1


def read_group(where: str, table: Mapping[str, Any], folder: Path) -> Group:
    """A group from its axes.

    Args:
        where: how errors call it.
        table: axes to a value or a list of values; those that all groups have are in it.
        folder: what relative paths start from.

    Raises:
        InputError: saying which axis, what was received, and what to do.
    """
    unknown = sorted(set(table) - set(AXES))
    if unknown:
        raise InputError(f"{where}: unknown axes {', '.join(unknown)}; known: {', '.join(AXES)}")
    if "model" not in table:
        raise InputError(f"{where}: no model; name one or several: model = 'FILE.onnx', or a float FILE.keras")
    given = {axis: _listed(where, axis, value) for axis, value in table.items()}
    values: dict[str, tuple[Any, ...]] = {"model": _models(where, given.pop("model"), folder)}
    floats = [m for m in values["model"] if m.path.suffix == ".keras"]
    values |= _quantised(where, given, folder, values["model"], bool(floats))
    for axis, default in HARDWARE.items():
        values[axis] = tuple(_hardware_value(where, axis, v) for v in given.get(axis, [default]))
    for axis, found in values.items():
        _refuse_twice(where, axis, found)
    _check_hardware(where, values)
    boards = {name: board_source(name) for name in values["board"]}
    return Group(where, {axis: values[axis] for axis in AXES}, boards)


def _listed(where: str, axis: str, value: Any) -> list[Any]:
    """The values of an axis: a list, or one alone."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise InputError(f"{where}: {axis} has no values; name at least one, or leave it out")
    for v in values:
        if isinstance(v, bool) or not isinstance(v, str | int | float):
            raise InputError(f"{where}: {axis} takes texts and numbers. Received: {v!r}")
    return values


def _models(where: str, names: Sequence[Any], folder: Path) -> tuple[ModelSource, ...]:
    found = tuple(model_source(where, name, folder) for name in names)
    if len({m.path.suffix for m in found}) > 1:
        raise InputError(
            f"{where}: .onnx and float .keras models together; the first are quantised already. "
            "Give each kind a [[sweep.group]] of its own"
        )
    return found


def _quantised(
    where: str, given: Mapping[str, list[Any]], folder: Path, models: Sequence[ModelSource], floats: bool
) -> dict[str, tuple[Any, ...]]:
    """The axes of post-training quantisation; None each for models that are quantised already."""
    if not floats:
        if useless := [axis for axis in ("calibration", *QUANTISE) if axis in given]:
            raise InputError(
                f"{where}: {', '.join(useless)}: without effect on {models[0].path.name}, which is quantised already; "
                f"take them out of its group, with without = {useless} if [sweep.axes] has them"
            )
        return dict.fromkeys(("calibration", *QUANTISE), (None,))
    if "calibration" not in given:
        raise InputError(
            f"{where}: {models[0].path.name} is a float model; it needs calibration = a .npy file of representative "
            "inputs, or the name of a zoo model"
        )
    values: dict[str, tuple[Any, ...]] = {
        "calibration": tuple(calibration_source(where, v, folder) for v in given["calibration"])
    }
    for axis, default in QUANTISE.items():
        values[axis] = tuple(given.get(axis, [default]))
        for value in values[axis]:
            if type(value) is not type(default):
                kind = "names" if isinstance(default, str) else "whole numbers"
                raise InputError(f"{where}: {axis} takes {kind}. Received: {value!r}")
            with_context(where, QuantisePlan, **{axis: value})
    return values


def _hardware_value(where: str, axis: str, value: Any) -> Any:
    """A value as `HlsConfig` would keep it; equal choices become equal values."""
    if axis == "board":
        if not isinstance(value, str):
            raise InputError(f"{where}: board takes names. Received: {value!r}")
        return with_context(where, find_board, value).name
    if axis == "reuse_factor":
        if value is None or value == FIT:
            return value
        if isinstance(value, str):
            raise InputError(f"{where}: reuse_factor takes numbers and {FIT!r}. Received: {value!r}")
    streaming = {"io_type": "io_stream"} if axis in ("lanes", "parallel_heads") else {}
    return getattr(with_context(where, HlsConfig, **{axis: value, **streaming}), axis)


def _check_hardware(where: str, values: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse choices that exclude each other."""
    if "io_parallel" not in values["io_type"]:
        return
    if FIT in values["reuse_factor"]:
        raise InputError(
            f"{where}: reuse_factor = {FIT!r} is for io_stream; give io_type = 'io_parallel' a [[sweep.group]] of its "
            "own, with numbers"
        )
    for axis in ("lanes", "parallel_heads"):
        if values[axis] != (HARDWARE[axis],):
            raise InputError(
                f"{where}: {axis} has no effect on io_parallel; give io_type = 'io_parallel' a [[sweep.group]] of its "
                f"own with without = ['lanes', 'parallel_heads'], and the others one with io_type = 'io_stream'"
            )


def _refuse_twice(where: str, axis: str, values: Sequence[Any]) -> None:
    seen: dict[Any, Any] = {}
    for value in values:
        identity = value.identity if isinstance(value, ModelSource) else value
        if identity in seen:
            raise InputError(f"{where}: {axis}: {value} and {seen[identity]} are the same; remove one")
        seen[identity] = value


def with_context(where: str, make: Any, *args: Any, **values: Any) -> Any:
    """What `make` returns; its refusal says where the value stands."""
    try:
        return make(*args, **values)
    except Hls4attnError as error:
        raise InputError(f"{where}: {error}") from error
