# SPDX-License-Identifier: Apache-2.0
"""ONNX function bodies of E2Softmax and its shift form.

All arithmetic between the first Cast and the last is int64.  ONNX's integer Div leaves the rounding of negative
quotients to the executor, so a right shift of a value that may be negative is ``(a - Mod(a, 2**s)) / 2**s``, which
is exact; Div without Mod appears only where the dividend cannot be negative.
"""

from __future__ import annotations

#: Exponents `k` (batch, heads, rows, cols), row index `row` (batch, heads, rows, 1) and mask `keep` of scores x.
#: Two passes are one slice as long as the row.  The running maximum is a maximum over a triangle; only the sum,
#: whose shifts truncate, needs a loop.  Adding 0 to k makes a copy: the evaluator of the onnx package cannot gather
#: by a strided view.
_E2_HEAD = """
    to_code = Constant <value: tensor = @code_scale> ()
    lowest = Constant <value: tensor = @min_code> ()
    factor = Constant <value: tensor = @multiplier> ()
    round_up = Constant <value: tensor = @half> ()
    scale_down = Constant <value: tensor = @divisor> ()
    top_exponent = Constant <value: tensor = @max_exponent> ()
    power = Constant <value: tensor = @powers> ()
    fraction = Constant <value: tensor = @numerators> ()
    sums = Constant <value: tensor = @row_sums> ()
    wanted_slice = Constant <value: tensor = @slice> ()
    diag = Constant <value: tensor = @diagonal> ()
    none = Constant <value_int = 0> ()
    unit = Constant <value_int = 1> ()
    before_it = Constant <value_int = -1> ()
    nothing = Constant <value_ints = [0]> ()
    single = Constant <value_ints = [1]> ()
    last_axis = Constant <value_ints = [-1]> ()
    axis_before = Constant <value_ints = [-2]> ()
    column_axis = Constant <value_ints = [3]> ()
    leading = Constant <value_ints = [0, 0, 0]> ()
    no_padding = Constant <value_ints = [0, 0, 0, 0, 0, 0, 0]> ()
    always = Constant <value = bool {1}> ()

    x_scaled = Mul (x, to_code)
    x_rounded = Round (x_scaled)
    code = Cast <to = 7> (x_rounded)
    size = Shape (code)
    ones = ConstantOfShape <value = int64[1] {1}> (size)
    keep = Trilu <upper = 0> (ones, diag)
    visible = Cast <to = 9> (keep)
    seen = Where (visible, code, lowest)

    cols = Gather <axis = 0> (size, last_axis)
    one_pass = Equal (wanted_slice, nothing)
    length = Where (one_pass, cols, wanted_slice)
    cols_up = Add (cols, length)
    cols_round = Sub (cols_up, single)
    count = Div (cols_round, length)
    padded = Mul (count, length)
    extra = Sub (padded, cols)
    pads = Concat <axis = 0> (no_padding, extra)
    seen_padded = Pad (seen, pads, lowest)
    keep_padded = Pad (keep, pads)
    sliced = Concat <axis = 0> (leading, count, length)
    slices = Reshape (seen_padded, sliced)
    counted = Reshape (keep_padded, sliced)

    local = ReduceMax <axes = [-1], keepdims = 0> (slices)
    spread = Unsqueeze (local, axis_before)
    square = Concat <axis = 0> (count, count)
    square_ones = ConstantOfShape <value = int64[1] {1}> (square)
    so_far_int = Trilu <upper = 0> (square_ones, none)
    so_far = Cast <to = 9> (so_far_int)
    earlier_int = Trilu <upper = 0> (square_ones, before_it)
    earlier = Cast <to = 9> (earlier_int)
    so_far_codes = Where (so_far, spread, lowest)
    running = ReduceMax <axes = [-1], keepdims = 0> (so_far_codes)
    earlier_codes = Where (earlier, spread, lowest)
    previous = ReduceMax <axes = [-1], keepdims = 0> (earlier_codes)
    final = ReduceMax <axes = [-1], keepdims = 1> (running)

    rise = Sub (running, previous)
    rise_product = Mul (rise, factor)
    rise_up = Add (rise_product, round_up)
    rise_shifted = Div (rise_up, scale_down)
    rise_exponent = Min (rise_shifted, top_exponent)
    fall = Sub (final, running)
    fall_product = Mul (fall, factor)
    fall_up = Add (fall_product, round_up)
    fall_shifted = Div (fall_up, scale_down)
    fall_exponent = Min (fall_shifted, top_exponent)

    running_wide = Unsqueeze (running, last_axis)
    factor_wide = Unsqueeze (factor, last_axis)
    round_up_wide = Unsqueeze (round_up, last_axis)
    scale_down_wide = Unsqueeze (scale_down, last_axis)
    below = Sub (running_wide, slices)
    below_product = Mul (below, factor_wide)
    below_up = Add (below_product, round_up_wide)
    below_shifted = Div (below_up, scale_down_wide)
    exponent = Min (below_shifted, top_exponent)

    terms_all = Gather <axis = 0> (fraction, exponent)
    terms = Mul (terms_all, counted)
    part = ReduceSum <keepdims = 0> (terms, last_axis)
    rise_divisor = Gather <axis = 0> (power, rise_exponent)
    slices_sum = ReduceSum <keepdims = 0> (part, last_axis)
    empty = Mul (slices_sum, none)
    trips = Squeeze (count)
    total = Loop <body = add_slice (int64 step, bool go, int64[b, h, r] sum_in)
        => (bool go_on, int64[b, h, r] sum_out) {
        by = Gather <axis = -1> (rise_divisor, step)
        new = Gather <axis = -1> (part, step)
        corrected = Div (sum_in, by)
        sum_out = Add (corrected, new)
        go_on = Identity (go)
    }> (trips, always, empty)

    fall_wide = Unsqueeze (fall_exponent, last_axis)
    both = Add (exponent, fall_wide)
    k_sliced = Min (both, top_exponent)
    whole_row = Concat <axis = 0> (leading, padded)
    k_padded = Reshape (k_sliced, whole_row)
    k_view = Slice (k_padded, nothing, cols, column_axis)
    k = Add (k_view, none)

    total_column = Unsqueeze (total, last_axis)
    reached = GreaterOrEqual (total_column, sums)
    reached_int = Cast <to = 7> (reached)
    reached_count = ReduceSum <keepdims = 1> (reached_int, last_axis)
    reached_index = Sub (reached_count, unit)
    row = Max (reached_index, none)
"""

_E2_CORE_NAMES = """in_format, score_scale, code_width, sum_frac, divider, divider_frac, slice_length, log2e,
    scale_bits, max_length, causal, code_scale, min_code, multiplier, half, divisor, max_exponent, powers, numerators,
    row_sums, slice, diagonal"""

E2SOFTMAX = f"""
E2Softmax <{_E2_CORE_NAMES}, out_width, out_frac, out_rounding, table, row_stride>
(x) => (y) {{
    {_E2_HEAD}
    results = Constant <value: tensor = @table> ()
    stride = Constant <value: tensor = @row_stride> ()
    first = Mul (row, stride)
    index = Add (first, k)
    p = Gather <axis = 0> (results, index)
    y = Trilu <upper = 0> (p, diag)
}}
"""

E2CONTEXT = f"""
E2Context <{_E2_CORE_NAMES}, v_format, out_format, v_scale, row_factor, row_divisor, low, high, out_step>
(x, v) => (y) {{
    {_E2_HEAD}
    v_to_code = Constant <value: tensor = @v_scale> ()
    mantissas = Constant <value: tensor = @row_factor> ()
    row_shifts = Constant <value: tensor = @row_divisor> ()
    smallest = Constant <value: tensor = @low> ()
    largest = Constant <value: tensor = @high> ()
    result_step = Constant <value: tensor = @out_step> ()
    two = Constant <value_int = 2> ()
    v_scaled = Mul (v, v_to_code)
    v_rounded = Round (v_scaled)
    v_code = Cast <to = 7> (v_rounded)
    weight_all = Gather <axis = 0> (fraction, k)
    weight = Mul (weight_all, keep)
    accumulated = MatMul (weight, v_code)
    mantissa = Gather <axis = 0> (mantissas, row)
    down = Gather <axis = 0> (row_shifts, row)
    product = Mul (accumulated, mantissa)
    rest = Mod (product, down)
    multiple = Sub (product, rest)
    floored = Div (multiple, down)
    twice = Mul (rest, two)
    above = Greater (twice, down)
    tie = Equal (twice, down)
    odd_int = Mod (floored, two)
    odd = Cast <to = 9> (odd_int)
    tie_up = And (tie, odd)
    up = Or (above, tie_up)
    up_int = Cast <to = 7> (up)
    nearest = Add (floored, up_int)
    not_below = Max (nearest, smallest)
    limited = Min (not_below, largest)
    as_float = Cast <to = 1> (limited)
    y = Mul (as_float, result_step)
}}
"""

#: Text of each body by operator name.
BODIES = {"E2Softmax": E2SOFTMAX, "E2Context": E2CONTEXT}
