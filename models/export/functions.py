# SPDX-License-Identifier: Apache-2.0
"""ONNX function bodies of every non-standard operator, so that any runtime executes the exported file.

A body is written in ONNX's own text form and made of standard operators of opset 17.  Values travel as float32
that hold codes exactly; inside the score functions all arithmetic is int64.
"""

from __future__ import annotations

from functools import cache

import onnx

from hls4attn.models.errors import SpecError
from hls4attn.models.export import functions_gain, functions_norm, functions_sole

DOMAIN = "hls4attn"
DOMAIN_VERSION = 1
QUANT_DOMAIN = "qonnx.custom_op.general"
QUANT_VERSION = 1
OPSET = 17
IR_VERSION = 9

_HEADER = '<domain: "{domain}", opset_import: ["": 17]>\n'

# y = clip(round_half_even(x / scale + zero_point), low, high) - zero_point) * scale, with QONNX's limits:
# signed: [-2^(b-1) + narrow, 2^(b-1) - 1], unsigned: [0, 2^b - 1 - narrow].
_QUANT = """
Quant <signed, narrow, rounding_mode> (x, scale, zero_point, bits) => (y) {
    one = Constant <value_float = 1.0> ()
    two = Constant <value_float = 2.0> ()
    signed_i = Constant <value_int: int = @signed> ()
    narrow_i = Constant <value_int: int = @narrow> ()
    s = Cast <to = 1> (signed_i)
    n = Cast <to = 1> (narrow_i)
    magnitude_bits = Sub (bits, s)
    span = Pow (two, magnitude_bits)
    below = Sub (n, span)
    low = Mul (s, below)
    unsigned = Sub (one, s)
    narrowed = Mul (unsigned, n)
    top = Sub (span, one)
    high = Sub (top, narrowed)
    scaled = Div (x, scale)
    shifted = Add (scaled, zero_point)
    rounded = Round (shifted)
    floored = Max (rounded, low)
    limited = Min (floored, high)
    centred = Sub (limited, zero_point)
    y = Mul (centred, scale)
}
"""

_CONSMAX = """
ConSmax <in_format, out_width, causal, beta, gamma, score_scale, out_frac, code_scale, first_entry, table, diagonal>
(x) => (y) {
    to_code = Constant <value: tensor = @code_scale> ()
    first = Constant <value: tensor = @first_entry> ()
    entries = Constant <value: tensor = @table> ()
    k = Constant <value: tensor = @diagonal> ()
    scaled = Mul (x, to_code)
    rounded = Round (scaled)
    code = Cast <to = 7> (rounded)
    index = Add (code, first)
    p = Gather <axis = 0> (entries, index)
    y = Trilu <upper = 0> (p, k)
}
"""

# All nibbles at once on a new last axis; products of mantissas and sums of shifts reduce it again.
_SPLIT = """
ConSmaxSplit <in_format, out_width, causal, beta, gamma, score_scale, out_frac, mantissa_bits, code_scale,
    code_offset, nibble_weight, first_entry, mantissa, shift, max_shift, powers, max_code, out_step, diagonal>
(x) => (y) {
    to_code = Constant <value: tensor = @code_scale> ()
    offset = Constant <value: tensor = @code_offset> ()
    weights = Constant <value: tensor = @nibble_weight> ()
    first = Constant <value: tensor = @first_entry> ()
    mantissas = Constant <value: tensor = @mantissa> ()
    shifts = Constant <value: tensor = @shift> ()
    last = Constant <value: tensor = @max_shift> ()
    power = Constant <value: tensor = @powers> ()
    limit = Constant <value: tensor = @max_code> ()
    step = Constant <value: tensor = @out_step> ()
    k = Constant <value: tensor = @diagonal> ()
    one = Constant <value_int = 1> ()
    two = Constant <value_int = 2> ()
    sixteen = Constant <value_int = 16> ()
    last_axis = Constant <value_ints = [-1]> ()
    scaled = Mul (x, to_code)
    rounded = Round (scaled)
    code = Cast <to = 7> (rounded)
    unsigned = Add (code, offset)
    column = Unsqueeze (unsigned, last_axis)
    above = Div (column, weights)
    nibble = Mod (above, sixteen)
    index = Add (nibble, first)
    m = Gather <axis = 0> (mantissas, index)
    s = Gather <axis = 0> (shifts, index)
    product = ReduceProd <axes = [-1], keepdims = 0> (m)
    shift_sum = ReduceSum <keepdims = 0> (s, last_axis)
    from_one = Max (shift_sum, one)
    right = Min (from_one, last)
    divisor = Gather <axis = 0> (power, right)
    half = Div (divisor, two)
    up = Add (product, half)
    quotient = Div (up, divisor)
    limited = Min (quotient, limit)
    as_float = Cast <to = 1> (limited)
    p = Mul (as_float, step)
    y = Trilu <upper = 0> (p, k)
}
"""

_SOFTMAX = """
IntegerSoftmax <in_format, score_scale, out_width, out_frac, exp_frac, guard, max_length, causal, code_scale, min_code,
    first_entry, table, one, half, divisor, max_code, out_step, diagonal>
(x) => (y) {
    to_code = Constant <value: tensor = @code_scale> ()
    lowest = Constant <value: tensor = @min_code> ()
    first = Constant <value: tensor = @first_entry> ()
    entries = Constant <value: tensor = @table> ()
    whole = Constant <value: tensor = @one> ()
    round_up = Constant <value: tensor = @half> ()
    scale_down = Constant <value: tensor = @divisor> ()
    limit = Constant <value: tensor = @max_code> ()
    step = Constant <value: tensor = @out_step> ()
    k = Constant <value: tensor = @diagonal> ()
    zero = Constant <value_int = 0> ()
    unit = Constant <value_int = 1> ()
    two = Constant <value_int = 2> ()
    last_axis = Constant <value_ints = [-1]> ()
    scaled = Mul (x, to_code)
    rounded = Round (scaled)
    code = Cast <to = 7> (rounded)
    size = Shape (code)
    ones = ConstantOfShape <value = int64[1] {1}> (size)
    keep = Trilu <upper = 0> (ones, k)
    visible = Cast <to = 9> (keep)
    seen = Where (visible, code, lowest)
    top = ReduceMax <axes = [-1], keepdims = 1> (seen)
    below = Sub (top, code)
    distance = Max (below, zero)
    index = Add (distance, first)
    e_all = Gather <axis = 0> (entries, index)
    e = Mul (e_all, keep)
    total = ReduceSum <keepdims = 1> (e, last_axis)
    half_total = Div (total, two)
    dividend = Add (whole, half_total)
    safe_total = Max (total, unit)
    reciprocal = Div (dividend, safe_total)
    product = Mul (e, reciprocal)
    up = Add (product, round_up)
    quotient = Div (up, scale_down)
    limited = Min (quotient, limit)
    as_float = Cast <to = 1> (limited)
    y = Mul (as_float, step)
}
"""


#: Bodies that other packages brought, by operator name.
_FURTHER: dict[str, str] = {}


def add_function(name: str, body: str) -> None:
    """Make the function body of another package's operator known; doing it again changes nothing.

    Args:
        name: the operator.
        body: in ONNX's text form, ``Name <attributes> (x) => (y) { ... }``, of standard operators of opset 17.

    Raises:
        SpecError: for a name that is taken, or a body that does not parse or has another name.
    """
    check_function(name, body)
    _FURTHER[name] = body
    functions.cache_clear()


def check_function(name: str, body: str) -> None:
    """Refuse what `add_function` would.

    Raises:
        SpecError: for a name that is taken, or a body that does not parse or has another name.
    """
    known = functions()
    if name in known and _FURTHER.get(name) != body:
        raise SpecError(f"{name}: there is another ONNX function of that name")
    try:
        parsed = onnx.parser.parse_function(_HEADER.format(domain=DOMAIN) + body)
    except onnx.parser.ParseError as error:
        raise SpecError(f"{name}: its ONNX function does not parse: {error}") from error
    if parsed.name != name:
        raise SpecError(f"{name}: its ONNX function is named {parsed.name!r}")


@cache
def functions() -> dict[str, onnx.FunctionProto]:
    """Every function this package may write, by operator name."""
    own = functions_sole.BODIES | functions_norm.BODIES | functions_gain.BODIES
    texts = {
        "Quant": (QUANT_DOMAIN, _QUANT),
        "ConSmax": (DOMAIN, _CONSMAX),
        "ConSmaxSplit": (DOMAIN, _SPLIT),
        "IntegerSoftmax": (DOMAIN, _SOFTMAX),
        **{name: (DOMAIN, body) for name, body in (own | _FURTHER).items()},
    }
    return {
        name: onnx.parser.parse_function(_HEADER.format(domain=domain) + text) for name, (domain, text) in texts.items()
    }
