# SPDX-License-Identifier: Apache-2.0
"""ONNX function bodies of gain-cell attention, as a sequence and as one token with its state.

Rules as in `functions_sole`, and one more: onnxruntime 1.31 computes Max and Min of int64 wrongly where two values are
2**31 to 2**32 apart (seen with AVX-512), so that charges are limited by a comparison and Where.

A look-up per element of K or V is one product per level with the elements that hold it (sequence), or a Gather (one
token).
"""

from __future__ import annotations

_PARAMETERS = """heads, head_dim, window, tile, q_levels, k_levels, v_levels, out_levels, pulse_steps, current_frac,
    leak, vdd, score_saturation, context_saturation, slope, tiling, cell_kind, cell, q_a, q_b, k_a, k_b, v_a, v_b, o_a,
    o_b, read_noise, mismatch, retention_spread, seed, q_last, k_last, v_last, pulse_multiplier, pulse_half,
    pulse_divisor, charge_limit, code_multiplier, code_half, code_divisor, code_limit, splits, round_tiles,
    key_currents, value_currents"""

_CONSTANTS = """
    top_q = Constant <value: tensor = @q_last> ()
    top_k = Constant <value: tensor = @k_last> ()
    top_v = Constant <value: tensor = @v_last> ()
    key_table = Constant <value: tensor = @key_currents> ()
    value_table = Constant <value: tensor = @value_currents> ()
    pulse_factor = Constant <value: tensor = @pulse_multiplier> ()
    pulse_up = Constant <value: tensor = @pulse_half> ()
    pulse_down = Constant <value: tensor = @pulse_divisor> ()
    pulse_top = Constant <value_int: int = @pulse_steps> ()
    slots = Constant <value_int: int = @window> ()
    none = Constant <value_int = 0> ()
    unit = Constant <value_int = 1> ()
    single = Constant <value_ints = [1]> ()
    first_axis = Constant <value_ints = [0]> ()
    last_axis = Constant <value_ints = [-1]> ()
    axis_before = Constant <value_ints = [-2]> ()
    third_axis = Constant <value_ints = [2]> ()
    tile_int = Constant <value_int: int = @tile> ()
    tile_length = Unsqueeze (tile_int, first_axis)

    q_rounded = Round (q)
    q_int = Cast <to = 7> (q_rounded)
    q_code = Min (q_int, top_q)
    k_rounded = Round (k)
    k_int = Cast <to = 7> (k_rounded)
    k_code = Min (k_int, top_k)
    v_rounded = Round (v)
    v_int = Cast <to = 7> (v_rounded)
    v_code = Min (v_int, top_v)
"""

#: `score` to `pulse`; Div truncates, which is exact for what is not negative.
_PULSE = """
    score_scaled = Mul (score, pulse_factor)
    score_up = Add (score_scaled, pulse_up)
    score_below = Less (score_up, none)
    score_positive = Where (score_below, none, score_up)
    pulse_all = Div (score_positive, pulse_down)
    pulse_above = Greater (pulse_all, pulse_top)
    pulse = Where (pulse_above, pulse_top, pulse_all)
"""

#: `charge`, tiles on axis 2, to the sum of the tiles' codes.
_CODES = """
    charge_top = Constant <value: tensor = @charge_limit> ()
    charge_bottom = Neg (charge_top)
    code_factor = Constant <value: tensor = @code_multiplier> ()
    code_up = Constant <value: tensor = @code_half> ()
    code_down = Constant <value: tensor = @code_divisor> ()
    code_top = Constant <value: tensor = @code_limit> ()
    code_bottom = Neg (code_top)
    charge_below = Less (charge, charge_bottom)
    charge_raised = Where (charge_below, charge_bottom, charge)
    charge_above = Greater (charge_raised, charge_top)
    charge_limited = Where (charge_above, charge_top, charge_raised)
    charge_scaled = Mul (charge_limited, code_factor)
    charge_up = Add (charge_scaled, code_up)
    charge_rest = Mod (charge_up, code_down)
    charge_multiple = Sub (charge_up, charge_rest)
    code_all = Div (charge_multiple, code_down)
    code_above = Max (code_all, code_bottom)
    code = Min (code_above, code_top)
    total = ReduceSum <keepdims = 0> (code, third_axis)
    y = Cast <to = 1> (total)
"""

#: Positions are padded to whole rounds of tiles; tiles of different rounds share their slots, and are added.
SEQUENCE = f"""
GainCell <{_PARAMETERS}>
(q, k, v) => (y) {{
    {_CONSTANTS}
    tiles_a_round = Constant <value: tensor = @round_tiles> ()
    size = Shape (q_code)
    batch_heads = Slice (size, first_axis, third_axis)
    width_axis = Constant <value_ints = [3]> ()
    tokens = Gather <axis = 0> (size, third_axis)
    width = Gather <axis = 0> (size, width_axis)
    tokens_up = Add (tokens, tile_length)
    tokens_round = Sub (tokens_up, single)
    tiles = Div (tokens_round, tile_length)
    round_length = Min (tiles, tiles_a_round)
    tiles_up = Add (tiles, round_length)
    tiles_round = Sub (tiles_up, single)
    rounds = Div (tiles_round, round_length)
    all_tiles = Mul (rounds, round_length)
    padded = Mul (all_tiles, tile_length)
    extra = Sub (padded, tokens)
    stored_before = Constant <value_ints = [0, 0, 0, 0, 0, 0]> ()
    stored_pads = Concat <axis = 0> (stored_before, extra, first_axis)
    k_padded = Pad (k_code, stored_pads)
    v_padded = Pad (v_code, stored_pads)

    token_count = Squeeze (tokens)
    padded_count = Squeeze (padded)
    query_at = Range (none, token_count, unit)
    stored_at = Range (none, padded_count, unit)
    query_column = Unsqueeze (query_at, last_axis)
    age = Sub (query_column, stored_at)
    future = Less (age, none)
    gone = GreaterOrEqual (age, slots)
    empty = Or (future, gone)
    row = Where (empty, slots, age)
    key_by_age = Gather <axis = 0> (key_table, row)
    key_current = Transpose <perm = [2, 0, 1]> (key_by_age)
    value_by_age = Gather <axis = 0> (value_table, row)
    value_current = Transpose <perm = [2, 0, 1]> (value_by_age)

    level_shape_end = Constant <value_ints = [1, 1]> ()
    key_end = Add (top_k, unit)
    key_levels = Range (none, key_end, unit)
    key_levels_count = Unsqueeze (key_end, first_axis)
    key_levels_shape = Concat <axis = 0> (key_levels_count, level_shape_end)
    key_levels_wide = Reshape (key_levels, key_levels_shape)
    k_wide = Unsqueeze (k_padded, third_axis)
    key_holds = Equal (k_wide, key_levels_wide)
    key_is = Cast <to = 7> (key_holds)
    key_is_turned = Transpose <perm = [0, 1, 2, 4, 3]> (key_is)
    q_wide = Unsqueeze (q_code, third_axis)
    by_key_level = MatMul (q_wide, key_is_turned)
    score_terms = Mul (by_key_level, key_current)
    score = ReduceSum <keepdims = 0> (score_terms, third_axis)
    {_PULSE}

    value_end = Add (top_v, unit)
    value_levels = Range (none, value_end, unit)
    value_levels_count = Unsqueeze (value_end, first_axis)
    value_levels_shape = Concat <axis = 0> (value_levels_count, level_shape_end)
    value_levels_wide = Reshape (value_levels, value_levels_shape)
    v_wide = Unsqueeze (v_padded, third_axis)
    value_holds = Equal (v_wide, value_levels_wide)
    value_is = Cast <to = 7> (value_holds)
    pulse_wide = Unsqueeze (pulse, third_axis)
    weight = Mul (pulse_wide, value_current)
    weight_shape = Concat <axis = 0> (batch_heads, value_levels_count, tokens, all_tiles, tile_length)
    weight_split = Reshape (weight, weight_shape)
    weight_turned = Transpose <perm = [0, 1, 4, 3, 2, 5]> (weight_split)
    terms = Mul (value_levels_count, tile_length)
    weight_rows = Concat <axis = 0> (batch_heads, all_tiles, tokens, terms)
    weights = Reshape (weight_turned, weight_rows)
    value_shape = Concat <axis = 0> (batch_heads, value_levels_count, all_tiles, tile_length, width)
    value_split = Reshape (value_is, value_shape)
    value_turned = Transpose <perm = [0, 1, 3, 2, 4, 5]> (value_split)
    value_rows = Concat <axis = 0> (batch_heads, all_tiles, terms, width)
    values = Reshape (value_turned, value_rows)
    by_position = MatMul (weights, values)
    round_shape = Concat <axis = 0> (batch_heads, rounds, round_length, tokens, width)
    by_round = Reshape (by_position, round_shape)
    charge = ReduceSum <keepdims = 0> (by_round, third_axis)
    {_CODES}
}}
"""

#: One token: q, k, v are (batch, heads, head_dim), the window's codes uint8 (batch, heads, window, head_dim).
STEP = f"""
GainCellStep <{_PARAMETERS}>
(q, k, v, keys, values, pointer, count) => (y, next_keys, next_values, next_pointer, next_count) {{
    {_CONSTANTS}
    split = Constant <value: tensor = @splits> ()
    slot = Range (none, slots, unit)
    slot_column = Unsqueeze (slot, last_axis)
    here = Equal (slot_column, pointer)
    k_row = Unsqueeze (k_code, axis_before)
    v_row = Unsqueeze (v_code, axis_before)
    keys_before = Cast <to = 7> (keys)
    values_before = Cast <to = 7> (values)
    keys_now = Where (here, k_row, keys_before)
    values_now = Where (here, v_row, values_before)
    next_keys = Cast <to = 2> (keys_now)
    next_values = Cast <to = 2> (values_now)
    pointer_up = Add (pointer, unit)
    next_pointer = Mod (pointer_up, slots)
    next_count = Add (count, unit)

    behind = Sub (pointer, slot)
    age = Mod (behind, slots)
    empty = GreaterOrEqual (age, next_count)
    row = Where (empty, slots, age)
    row_column = Unsqueeze (row, last_axis)
    key_levels = Add (top_k, unit)
    key_first = Mul (row_column, key_levels)
    key_index = Add (key_first, keys_now)
    key_entries = Reshape (key_table, last_axis)
    key_current = Gather <axis = 0> (key_entries, key_index)
    q_column = Unsqueeze (q_code, last_axis)
    score_column = MatMul (key_current, q_column)
    score = Squeeze (score_column, last_axis)
    {_PULSE}

    value_levels = Add (top_v, unit)
    value_first = Mul (row_column, value_levels)
    value_index = Add (value_first, values_now)
    value_entries = Reshape (value_table, last_axis)
    value_current = Gather <axis = 0> (value_entries, value_index)
    pulse_column = Unsqueeze (pulse, last_axis)
    weight = Mul (pulse_column, value_current)
    slot_tile = Div (slot, tile_int)
    newest_tile = Div (pointer, tile_int)
    in_newest = Equal (slot_tile, newest_tile)
    above = Greater (slot, pointer)
    old_there = And (in_newest, above)
    old_int = Cast <to = 7> (old_there)
    old_split = Mul (old_int, split)
    old_column = Unsqueeze (old_split, last_axis)
    old_weight = Mul (weight, old_column)
    new_weight = Sub (weight, old_weight)
    old_charge = ReduceSum <keepdims = 1> (old_weight, axis_before)
    fourth_axis = Constant <value_ints = [3]> ()
    batch_heads_width = Shape (q_code)
    batch_heads = Slice (batch_heads_width, first_axis, third_axis)
    width = Slice (batch_heads_width, third_axis, fourth_axis)
    tile_shape = Concat <axis = 0> (batch_heads, last_axis, tile_length, width)
    by_tile = Reshape (new_weight, tile_shape)
    new_charge = ReduceSum <keepdims = 0> (by_tile, fourth_axis)
    charge = Concat <axis = 2> (new_charge, old_charge)
    {_CODES}
}}
"""
#: Text of each body by operator name.
BODIES = {"GainCell": SEQUENCE, "GainCellStep": STEP}
