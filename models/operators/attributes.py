# SPDX-License-Identifier: Apache-2.0
"""Fields of a spec as ONNX attributes and back, and their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hls4attn.models.errors import SpecError
from hls4attn.models.formats import Fixed


def check_ranges(spec: Any, ranges: Mapping[str, tuple[int, int]]) -> None:
    """Refuse a field outside its range."""
    for name, (low, high) in ranges.items():
        if not low <= getattr(spec, name) <= high:
            raise SpecError(f"{spec.op_type}: {name} must be {low} to {high}. Received: {getattr(spec, name)}")


def as_attribute(value: Any) -> Any:
    """A spec's field as an ONNX attribute: tuples and floats become tensors, formats text, flags integers."""
    if isinstance(value, float):
        return np.array(value)  # ONNX's own float attributes hold 32 bits
    if isinstance(value, tuple):
        return np.array(value, dtype=np.float64 if isinstance(value[0], float) else np.int64)
    if isinstance(value, Fixed):
        return str(value)
    return value if isinstance(value, str) else int(value)


def from_attribute(name: str, kind: Any, value: Any) -> Any:
    """The inverse of `as_attribute`, for a field of the (textual) type `kind`.

    Raises:
        SpecError: if the value is not of that type.
    """
    try:
        if kind == "Fixed":
            return Fixed.parse(value)
        if str(kind).startswith("tuple"):
            flat = np.asarray(value).ravel()
            return tuple(map(float, flat)) if "float" in kind else tuple(map(int, flat))
        if kind == "bool":
            return bool(value)
        if kind == "float":
            return float(np.asarray(value, dtype=np.float64))
        return int(value) if kind == "int" else str(value)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SpecError(f"Attribute {name!r} must be of type {kind}. Received: {value!r}") from error
