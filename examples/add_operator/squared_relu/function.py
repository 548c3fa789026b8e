# SPDX-License-Identifier: Apache-2.0
"""The ONNX function body, which makes an exported file run anywhere.  Div of non-negative integers is the shift."""

BODY = """
SquaredRelu <in_format, score_scale, length, out_width, out_frac, factor_bits, causal, code_scale, factor, half,
    divisor, max_code, out_step, diagonal>
(x) => (y) {
    to_code = Constant <value: tensor = @code_scale> ()
    m = Constant <value: tensor = @factor> ()
    round_up = Constant <value: tensor = @half> ()
    scale_down = Constant <value: tensor = @divisor> ()
    limit = Constant <value: tensor = @max_code> ()
    step = Constant <value: tensor = @out_step> ()
    k = Constant <value: tensor = @diagonal> ()
    zero = Constant <value_int = 0> ()
    scaled = Mul (x, to_code)
    rounded = Round (scaled)
    code = Cast <to = 7> (rounded)
    rectified = Max (code, zero)
    square = Mul (rectified, rectified)
    product = Mul (square, m)
    up = Add (product, round_up)
    quotient = Div (up, scale_down)
    limited = Min (quotient, limit)
    as_float = Cast <to = 1> (limited)
    p = Mul (as_float, step)
    y = Trilu <upper = 0> (p, k)
}
"""
