# SPDX-License-Identifier: Apache-2.0
"""ONNX function bodies of AILayerNorm and the integer LayerNorm; rules as in `functions_sole`."""

from __future__ import annotations

#: Shared by both normalisations: `product` and `down` (a power of two a row) to y.
_AFFINE_TAIL = """
    bias = Constant <value: tensor = @beta_codes> ()
    bias_unit = Constant <value: tensor = @bias_one> ()
    smallest = Constant <value: tensor = @low> ()
    largest = Constant <value: tensor = @high> ()
    result_step = Constant <value: tensor = @out_step> ()
    product_rest = Mod (product, down)
    product_multiple = Sub (product, product_rest)
    shifted = Div (product_multiple, down)
    biased = Add (shifted, bias)
    biased_rest = Mod (biased, bias_unit)
    biased_multiple = Sub (biased, biased_rest)
    nearest = Div (biased_multiple, bias_unit)
    not_below = Max (nearest, smallest)
    limited = Min (not_below, largest)
    as_float = Cast <to = 1> (limited)
    y = Mul (as_float, result_step)
"""

AILAYERNORM = f"""
AILayerNorm <in_format, out_format, gamma, beta, alpha, zero_point, multiplier, shift, squares, rsqrt_entries,
    rsqrt_bits, mean_frac, bias_frac, gamma_bits, mult_code, zero_code, mean_one, reciprocal, mean_half, mean_divisor,
    square_one, variance_divisor, index_one, bias_one, low, high, code_scale, input_half, input_divisor,
    channel_factor, square_factor, square_table, powers, index_base, rsqrt_codes, row_divisor, gamma_codes, beta_codes,
    out_step>
(x) => (y) {{
    to_code = Constant <value: tensor = @code_scale> ()
    scale_up = Constant <value: tensor = @mult_code> ()
    in_half = Constant <value: tensor = @input_half> ()
    in_divisor = Constant <value: tensor = @input_divisor> ()
    zp = Constant <value: tensor = @zero_code> ()
    by_channel = Constant <value: tensor = @channel_factor> ()
    by_channel_squared = Constant <value: tensor = @square_factor> ()
    square_of = Constant <value: tensor = @square_table> ()
    square_unit = Constant <value: tensor = @square_one> ()
    over_channels = Constant <value: tensor = @reciprocal> ()
    mean_up = Constant <value: tensor = @mean_half> ()
    mean_down = Constant <value: tensor = @mean_divisor> ()
    mean_unit = Constant <value: tensor = @mean_one> ()
    second_down = Constant <value: tensor = @variance_divisor> ()
    power = Constant <value: tensor = @powers> ()
    index_unit = Constant <value: tensor = @index_one> ()
    bases = Constant <value: tensor = @index_base> ()
    roots = Constant <value: tensor = @rsqrt_codes> ()
    row_shifts = Constant <value: tensor = @row_divisor> ()
    scale = Constant <value: tensor = @gamma_codes> ()
    none = Constant <value_int = 0> ()
    unit = Constant <value_int = 1> ()
    byte = Constant <value_int = 255> ()
    last_axis = Constant <value_ints = [-1]> ()

    x_scaled = Mul (x, to_code)
    x_rounded = Round (x_scaled)
    code = Cast <to = 7> (x_rounded)
    finer = Mul (code, scale_up)
    finer_up = Add (finer, in_half)
    finer_rest = Mod (finer_up, in_divisor)
    finer_multiple = Sub (finer_up, finer_rest)
    coarse = Div (finer_multiple, in_divisor)
    with_zp = Add (coarse, zp)
    from_zero = Max (with_zp, none)
    quantised = Min (from_zero, byte)
    centred_byte = Sub (quantised, zp)
    value = Mul (centred_byte, by_channel)

    total = ReduceSum <keepdims = 1> (value, last_axis)
    magnitude = Abs (centred_byte)
    square_codes = Gather <axis = 0> (square_of, magnitude)
    squares_scaled = Mul (square_codes, by_channel_squared)
    square_sum = ReduceSum <keepdims = 1> (squares_scaled, last_axis)
    mean_product = Mul (total, over_channels)
    mean_rounded = Add (mean_product, mean_up)
    mean_rest = Mod (mean_rounded, mean_down)
    mean_multiple = Sub (mean_rounded, mean_rest)
    mean = Div (mean_multiple, mean_down)
    second_sum = Mul (square_sum, square_unit)
    second_product = Mul (second_sum, over_channels)
    second = Div (second_product, second_down)
    mean_squared = Mul (mean, mean)
    difference = Sub (second, mean_squared)
    variance = Max (difference, unit)

    reached = GreaterOrEqual (variance, power)
    reached_int = Cast <to = 7> (reached)
    reached_count = ReduceSum <keepdims = 1> (reached_int, last_axis)
    position = Sub (reached_count, unit)
    leading_one = Gather <axis = 0> (power, position)
    variance_fine = Mul (variance, index_unit)
    bits = Div (variance_fine, leading_one)
    base = Gather <axis = 0> (bases, position)
    index = Add (bits, base)
    root = Gather <axis = 0> (roots, index)
    down = Gather <axis = 0> (row_shifts, position)

    value_fine = Mul (value, mean_unit)
    centred = Sub (value_fine, mean)
    slope = Mul (scale, root)
    product = Mul (slope, centred)
    {_AFFINE_TAIL}
}}
"""

INTEGER_LAYERNORM = f"""
IntegerLayerNorm <in_format, out_format, gamma, beta, root_bits, rsqrt_bits, bias_frac, gamma_bits, channel_count, one,
    bias_one, low, high, code_scale, powers, scale_up, scale_down, root_weights, row_divisor, gamma_codes, beta_codes,
    out_step>
(x) => (y) {{
    to_code = Constant <value: tensor = @code_scale> ()
    channels = Constant <value: tensor = @channel_count> ()
    power = Constant <value: tensor = @powers> ()
    ups = Constant <value: tensor = @scale_up> ()
    downs = Constant <value: tensor = @scale_down> ()
    weights = Constant <value: tensor = @root_weights> ()
    whole = Constant <value: tensor = @one> ()
    row_shifts = Constant <value: tensor = @row_divisor> ()
    scale = Constant <value: tensor = @gamma_codes> ()
    none = Constant <value_int = 0> ()
    unit = Constant <value_int = 1> ()
    two = Constant <value_int = 2> ()
    always = Constant <value = bool {{1}}> ()
    last_axis = Constant <value_ints = [-1]> ()

    x_scaled = Mul (x, to_code)
    x_rounded = Round (x_scaled)
    code = Cast <to = 7> (x_rounded)
    total = ReduceSum <keepdims = 1> (code, last_axis)
    squared = Mul (code, code)
    square_sum = ReduceSum <keepdims = 1> (squared, last_axis)
    second = Mul (square_sum, channels)
    total_squared = Mul (total, total)
    difference = Sub (second, total_squared)
    variance = Max (difference, unit)

    reached = GreaterOrEqual (variance, power)
    reached_int = Cast <to = 7> (reached)
    reached_count = ReduceSum <keepdims = 1> (reached_int, last_axis)
    position = Sub (reached_count, unit)
    up = Gather <axis = 0> (ups, position)
    up_down = Gather <axis = 0> (downs, position)
    variance_up = Mul (variance, up)
    normalised = Div (variance_up, up_down)
    empty = Mul (normalised, none)
    digits = Size (weights)
    root = Loop <body = add_digit (int64 step, bool go, int64[b, s, u] root_in)
        => (bool go_on, int64[b, s, u] root_out) {{
        weight = Gather <axis = 0> (weights, step)
        trial = Add (root_in, weight)
        trial_squared = Mul (trial, trial)
        over = Greater (trial_squared, normalised)
        root_out = Where (over, root_in, trial)
        go_on = Identity (go)
    }}> (digits, always, empty)
    half_root = Div (root, two)
    dividend = Add (whole, half_root)
    inverse = Div (dividend, root)
    down = Gather <axis = 0> (row_shifts, position)

    value = Mul (code, channels)
    centred = Sub (value, total)
    slope = Mul (scale, inverse)
    product = Mul (slope, centred)
    {_AFFINE_TAIL}
}}
"""

#: Text of each body by operator name.
BODIES = {"AILayerNorm": AILAYERNORM, "IntegerLayerNorm": INTEGER_LAYERNORM}
