# SPDX-License-Identifier: Apache-2.0
"""Quantisers of other dialects: QONNX Quant, and QuantizeLinear, Clip, DequantizeLinear, as formats.

QONNX and ONNX agree on the arithmetic: ``clip(round_half_even(x / scale) + zero_point)``.  What differs is where the
bits stand: an input of Quant, the type of QuantizeLinear's zero point, or the bounds of a Clip after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import FormatError, UnsupportedError
from hls4attn.models.foreign.exprs import tight
from hls4attn.models.formats import Codes, Fixed

Array = NDArray[Any]

#: Formats of constants wider than that are cut to what the codes need: Brevitas gives every bias 32 bits.
WIDE = 16
#: Constants of more bits are refused: float32 does not hold them.
MOST_BITS = 24
#: Where a quantiser goes in the frameworks that such files come from.
BREVITAS_ACTIVATION = (
    "qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint) (scores in QuantMultiheadAttention: softmax_input_quant=)"
)
_BREVITAS_SCALE = "restrict_scaling_type=RestrictValueType.POWER_OF_TWO (Brevitas: the ...FixedPoint quantisers)"
_BOTH_WAYS = f"train or calibrate with {_BREVITAS_SCALE}, or import with --scales power-of-two"


@dataclass(frozen=True)
class Quantiser:
    """A quantiser as the file says it.

    Attributes:
        where: name and operator of its node, for messages.
        scale: one number, or an array that broadcasts against the tensor.
        bits: width.
        signed: whether codes may be negative.
        narrow: whether the most negative code is given up.
        zero_point: what the file's codes have added to these.
    """

    where: str
    scale: Array
    bits: int
    signed: bool
    narrow: bool = False
    zero_point: int = 0

    def fixed(self, frac: int) -> Fixed:
        """The format with that many fraction bits."""
        try:
            return Fixed(self.bits, frac, self.signed, overflow="saturate_symmetric" if self.narrow else "saturate")
        except FormatError as error:
            raise UnsupportedError(f"{self.where}: {error}") from error

    @property
    def step(self) -> float:
        """The one scale of the whole tensor.

        Raises:
            UnsupportedError: if there are several.
        """
        flat = np.unique(self.scale)
        if flat.size != 1:
            raise UnsupportedError(
                f"{self.where}: {self.scale.size} scales (shape {self.scale.shape}) for an activation; per tensor "
                "only: set per_channel=False for activations (weights may have one a channel)"
            )
        return float(flat[0])

    def codes(self, values: Array) -> Codes:
        """Codes of float values as the file's own arithmetic gives them."""
        fmt = self.fixed(0)
        return np.clip(np.rint(np.asarray(values, dtype=np.float64) / self.scale), fmt.min, fmt.max).astype(np.int64)


def power_of_two(scale: float) -> int | None:
    """The n of a scale ``2**-n``; None if it is no power of two."""
    mantissa, exponent = math.frexp(scale)
    return 1 - exponent if mantissa == 0.5 else None


def nearest_power(scale: float) -> int:
    """The n of the power of two ``2**-n`` nearest to a scale by ratio."""
    return -round(math.log2(scale))


def checked(
    where: str, scale: Array, zero_point: Array, bits: float, signed: bool, narrow: bool, mode: str
) -> Quantiser:
    """A quantiser of parameters that have an integer meaning.

    Raises:
        UnsupportedError: saying what was found and the nearest thing that works.
    """
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        raise UnsupportedError(f"{where}: scales must be positive numbers. Received: {scale.ravel()[:4]}")
    if mode.upper() not in ("ROUND", "HALF_EVEN"):
        raise UnsupportedError(f"{where}: rounding mode {mode}; only ROUND (half to even), Brevitas' default")
    if bits != int(bits) or bits < 1 or (signed and bits < 2) or (narrow and not signed):
        raise UnsupportedError(
            f"{where}: {bits:g} bits, signed={int(signed)}, narrow={int(narrow)} is no integer format here; use 2 bits "
            "or more, narrow_range only with signed codes"
        )
    zeros = np.unique(zero_point) if zero_point.size else np.zeros(1)
    if np.any(zeros != 0):
        # Codes counted from another end: uint8 around 128 is int8 around 0, and int8 from -128 is uint8 from 0.
        other = 2.0 ** (bits - 1) * (-1 if signed else 1)
        if narrow or bits < 2 or np.any(zeros != other):
            raise UnsupportedError(
                f"{where}: zero point {zeros[np.flatnonzero(zeros)[0]]:g}, an asymmetric quantiser; hardware here has "
                "none. Use a symmetric one: Brevitas' ...ActPerTensor quantisers without 'Shifted', onnxruntime's "
                "quantize_static with extra_options={'ActivationSymmetric': True, 'WeightSymmetric': True} and QInt8"
            )
        signed = not signed
    return Quantiser(where, np.asarray(scale, dtype=np.float64), int(bits), signed, narrow, int(zeros[0]))


def clipped(quantiser: Quantiser, low: float, high: float) -> Quantiser:
    """The narrower quantiser that a Clip between QuantizeLinear and DequantizeLinear makes; a bound may be infinite.

    Raises:
        UnsupportedError: for bounds that are those of no format.
    """
    whole = quantiser.fixed(0)
    wanted = max(low, whole.min), min(high, whole.max)
    for bits in range(1, quantiser.bits + 1):
        for signed, narrow in ((False, False), (True, False), (True, True)):
            if bits - signed < 1:
                continue
            smaller = replace(quantiser, bits=bits, signed=signed, narrow=narrow)
            if (smaller.fixed(0).min, smaller.fixed(0).max) == wanted:
                return smaller
    raise UnsupportedError(
        f"{quantiser.where}: clipped to [{low:g}, {high:g}], which is the range of no format; use those of n bits, "
        "such as [-8, 7], [-7, 7] or [0, 15]"
    )


def refuse_scale(where: str, scale: float, several: int = 1) -> UnsupportedError:
    """The error of a scale that is no power of two."""
    n = nearest_power(scale)
    which = f"one of its {several} scales is {scale:.9g}, which" if several > 1 else f"scale {scale:.9g}"
    return UnsupportedError(f"{where}: {which} is no power of two (nearest: 2**{-n} = {2.0**-n:g}); {_BOTH_WAYS}")


def constant_codes(quantiser: Quantiser, values: Array, exact: bool) -> tuple[Codes, Fixed, list[str]]:
    """Codes and format of a quantised constant, scales of channels brought onto one grid.

    Args:
        quantiser: of the constant; its scale is one number, or one for each value.
        values: its dequantised values.
        exact: refuse scales that are no powers of two; else the power of two beside each is taken whose values are
            nearer to those of the file.

    Returns:
        Codes, format, and what is different from the file.

    Raises:
        UnsupportedError: in exact mode, or if the scales of channels are too far apart for one format.
    """
    scales = np.broadcast_to(quantiser.scale, values.shape)
    several = np.unique(scales)
    rounded: dict[float, int] = {}
    for scale in several:
        n = power_of_two(float(scale))
        if n is None and exact:
            raise refuse_scale(quantiser.where, float(scale), int(several.size))
        here = values[scales == scale]
        rounded[float(scale)] = n if n is not None else _better_power(float(scale), quantiser, here, here)
    finest = max(rounded.values(), default=0)
    codes = np.zeros(values.shape, dtype=np.int64)
    for scale, n in rounded.items():
        here = scales == scale
        codes[here] = quantiser.fixed(n).quantise(values[here]) << (finest - n)
    ratio = max((abs(math.log2(s) + n) for s, n in rounded.items()), default=0.0)
    notes = [f"{several.size} scale(s) rounded to powers of two, by up to a factor {2**ratio:.3g}"] if ratio else []
    fmt = quantiser.fixed(finest)
    if len(set(rounded.values())) > 1 or fmt.width > WIDE:
        fmt = tight(codes, finest)
    if several.size > 1:
        notes.append(f"{several.size} scales of channels on one grid of {fmt.width} bits, step 2**{-finest}")
    if fmt.width > MOST_BITS:
        raise UnsupportedError(
            f"{quantiser.where}: its constants need {fmt.width} bits at a step of 2**{-finest} (largest "
            f"{np.abs(fmt.to_real(codes)).max():.4g}); {MOST_BITS} at most: use a coarser scale, or scales of channels "
            "that are nearer to each other"
        )
    return codes, fmt, notes


def _better_power(scale: float, quantiser: Quantiser, values: Array, wanted: Array) -> int:
    """The n of the power of two beside a scale that makes of values what is nearer to what the file makes of them."""
    low = math.floor(-math.log2(scale))
    errors = []
    for n in (low, low + 1):
        fmt = quantiser.fixed(n)
        errors.append(float(np.square(fmt.to_real(fmt.quantise(values)) - wanted).mean()) if values.size else 0.0)
    return low + int(np.argmin(errors))


def better_format(quantiser: Quantiser, values: Array) -> Fixed:
    """The power-of-two format beside a quantiser's scale whose values, limits included, are nearer to the file's."""
    step = quantiser.step
    return quantiser.fixed(_better_power(step, quantiser, values, quantiser.codes(values) * step))
