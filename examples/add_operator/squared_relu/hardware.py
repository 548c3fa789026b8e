# SPDX-License-Identifier: Apache-2.0
"""From the spec to the C++ kernel and to the streaming unit in Verilog."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hls4attn.hls.design import Kernel, Parameters
from hls4attn.hls.rtl.unit import Rom, RtlUnit, head_bits
from hls4attn.hls.stream.resources import Parts
from squared_relu.spec import SquaredReluSpec

FOLDER = Path(__file__).resolve().parent
OP = "AttnSquaredRelu"
KERNEL = Kernel("squared_relu", "squared_relu.h", "squared_relu_config", 1, ("factor", "places"), folder=FOLDER)


def parameters(spec: SquaredReluSpec, shape: tuple[int, ...], where: str) -> Parameters:
    """Members and tables of the kernel; heads, rows, cols, causal and the score format are added by the package."""
    factor, places = (constant.ravel() for constant in spec.constants)
    ints = {
        "factor_width": int(factor.max()).bit_length(),
        "max_places": int(places.max()),
        "code_limit": spec.out_format.max,
    }
    return OP, ints, {"factor": factor, "places": places}


def parts(found: Parts, ints: Mapping[str, int], lanes: int) -> None:
    """What `lanes` scores at once take: a square, a product with a constant, a shift, rounding and limit."""
    square = 2 * (ints["in_width"] - 1) + 1
    product = square + ints["factor_width"] + 1
    found.multiply(lanes, ints["in_width"], ints["in_width"])
    found.multiply(lanes, square, ints["factor_width"] + 1)
    found.shift(lanes, product, ints["max_places"])
    found.add(2 * lanes, product)


def unit(spec: SquaredReluSpec, row_max: int) -> RtlUnit:
    """The streaming unit; rows of any length pass, since it keeps nothing of a row."""
    factor, places = (constant.ravel() for constant in spec.constants)
    widths = {"FACTOR_W": int(factor.max()).bit_length(), "PLACES_W": int(places.max()).bit_length()}
    user_width, out_width = 1 + head_bits(spec.heads), spec.out_format.width
    return RtlUnit(
        "squared_relu",
        ("op_hold.sv",),
        {"IN_W": spec.in_format.width, "OUT_W": out_width, "USER_W": user_width, "HEADS": spec.heads} | widths,
        {"FACTOR": Rom(factor, widths["FACTOR_W"]), "PLACES": Rom(places, widths["PLACES_W"])},
        in_width=spec.in_format.width,
        out_width=out_width,
        user_width=user_width,
        heads=spec.heads,
        row_max=row_max,
        texts={"squared_relu.sv": (FOLDER / "squared_relu.sv").read_text(encoding="utf-8")},
    )
