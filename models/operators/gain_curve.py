# SPDX-License-Identifier: Apache-2.0
"""The current that a gain cell gives for its stored voltage: a polynomial, or a table that somebody measured.

Currents are in microampere for an input pulse of full length.  A leaking cell relaxes to mid-rail: it is the
deviation from there that shrinks, so a curve is asked for deviations, and what it gives for 0 never leaks.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hls4attn.models.errors import ModelFileError, SpecError
from hls4attn.models.formats import Reals

#: Longest polynomial and table.
MAX_COEFFICIENTS, MAX_POINTS = 16, 4096
MAX_CSV_BYTES = 1 << 20


@dataclass(frozen=True)
class PolynomialCurve:
    """``I = sum_i c_i w**i`` of the deviation w from mid-rail, in volt.

    Args:
        coefficients: c_0, c_1, ...; at most 16.
    """

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "coefficients", tuple(float(c) for c in np.ravel(self.coefficients)))
        if not 1 <= len(self.coefficients) <= MAX_COEFFICIENTS or not np.all(np.isfinite(self.coefficients)):
            raise SpecError(
                f"A cell polynomial has 1 to {MAX_COEFFICIENTS} finite coefficients. Received: {self.coefficients}"
            )

    def current(self, deviation: ArrayLike, mid_rail: float) -> Reals:
        """Current for voltages ``mid_rail + deviation``."""
        del mid_rail
        w = np.asarray(deviation, dtype=np.float64)
        total = np.full_like(w, self.coefficients[-1])
        for c in self.coefficients[-2::-1]:
            total = total * w + c
        return total

    def check_range(self, vdd: float) -> None:
        """A polynomial has a value everywhere."""


@dataclass(frozen=True)
class MeasuredCurve:
    """Currents measured at some voltages, with straight lines between them.

    Args:
        voltages: at least two, increasing; they must cover 0 to the supply voltage.
        currents: one a voltage.  A curve that is not monotone is taken, with a warning: two stored voltages then
            mean the same weight.
    """

    voltages: tuple[float, ...]
    currents: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("voltages", "currents"):
            object.__setattr__(self, name, tuple(float(v) for v in np.ravel(getattr(self, name))))
        points = len(self.voltages)
        if not 2 <= points <= MAX_POINTS or len(self.currents) != points:
            raise SpecError(
                f"A measured cell has 2 to {MAX_POINTS} voltages and as many currents. "
                f"Received: {points} voltages and {len(self.currents)} currents"
            )
        if not (np.all(np.isfinite(self.voltages)) and np.all(np.isfinite(self.currents))):
            raise SpecError("A measured cell holds NaN or infinity")
        if np.any(np.diff(self.voltages) <= 0):
            raise SpecError(f"Voltages of a measured cell must increase. Received: {self.voltages}")
        steps = np.diff(self.currents)
        if steps.min() < 0 < steps.max():
            at = int(np.argmax(np.sign(steps) != np.sign(steps[np.flatnonzero(steps)[0]])))
            warnings.warn(f"The measured current is not monotone: it turns near {self.voltages[at]:g} V", stacklevel=3)

    @classmethod
    def from_csv(cls, path: Path | str) -> MeasuredCurve:
        """Read a CSV file of voltage [V] and current [uA], with or without a line of headings.

        Raises:
            ModelFileError: if it cannot be read, or a line holds anything else than two numbers.
            SpecError: for numbers that are no curve.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MAX_CSV_BYTES:
                raise ModelFileError(f"{path}: {path.stat().st_size} bytes, more than the {MAX_CSV_BYTES} accepted")
            rows = [
                r for r in csv.reader(path.read_text(encoding="utf-8-sig").splitlines()) if any(c.strip() for c in r)
            ]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ModelFileError(f"Cannot read the cell's measurements {path}: {error}") from error
        headed = bool(rows) and not any(_is_number(cell) for cell in rows[0])
        points = []
        for number, row in enumerate(rows[headed:], 1 + headed):
            if len(row) != 2 or not all(_is_number(cell) for cell in row):
                raise ModelFileError(f"{path}, row {number}: expected 'voltage,current'. Received: {','.join(row)!r}")
            points.append((float(row[0]), float(row[1])))
        points.sort()
        return cls(tuple(v for v, _ in points), tuple(i for _, i in points))

    def current(self, deviation: ArrayLike, mid_rail: float) -> Reals:
        """Current for voltages ``mid_rail + deviation``."""
        v = mid_rail + np.asarray(deviation, dtype=np.float64)
        return np.asarray(np.interp(v, self.voltages, self.currents), dtype=np.float64)

    def check_range(self, vdd: float) -> None:
        """Refuse measurements that do not reach from 0 to the supply voltage."""
        if self.voltages[0] > 0 or self.voltages[-1] < vdd:
            raise SpecError(
                f"The cell was measured from {self.voltages[0]:g} to {self.voltages[-1]:g} V, but stores 0 to {vdd:g} V"
            )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


CellCurve = PolynomialCurve | MeasuredCurve

#: The paper's cell: a fit to its circuit simulation, and the straight line of its intermediate model.
CUBIC_CELL = PolynomialCurve((0.52136361391, 13.612260634, -2.620445619, 46.05483778))
LINEAR_CELL = PolynomialCurve((0.0, 19.3))


def curve_attributes(curve: CellCurve) -> dict[str, Any]:
    """A curve as node attributes."""
    if isinstance(curve, MeasuredCurve):
        return {"cell_kind": "measured", "cell": np.array([curve.voltages, curve.currents])}
    return {"cell_kind": "polynomial", "cell": np.array(curve.coefficients)}


def curve_from_attributes(attributes: Mapping[str, Any]) -> CellCurve:
    """The inverse of `curve_attributes`.

    Raises:
        SpecError: if it is none of these.
    """
    kind, numbers = attributes["cell_kind"], np.asarray(attributes["cell"])
    if numbers.dtype != np.float64:
        raise SpecError(f"A cell's numbers are float64. Received: {numbers.dtype}")
    if kind == "polynomial" and numbers.ndim == 1:
        return PolynomialCurve(tuple(map(float, numbers)))
    if kind == "measured" and numbers.ndim == 2 and len(numbers) == 2:
        return MeasuredCurve(tuple(map(float, numbers[0])), tuple(map(float, numbers[1])))
    raise SpecError(f"Unknown cell {kind!r} of shape {numbers.shape}")
