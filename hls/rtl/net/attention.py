# SPDX-License-Identifier: Apache-2.0
"""Streaming self-attention: constants and tables of net_attention.sv for every score function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import numpy as np

from hls4attn.hls.design import HwNode
from hls4attn.hls.rtl.e2softmax import exponents, max_ks
from hls4attn.hls.rtl.gaincell import RomRows
from hls4attn.hls.rtl.net.kernel import RtlKernel, spec_of
from hls4attn.hls.rtl.unit import Rom, RtlUnit, rtl_unit
from hls4attn.hls.stream.cycles import chunks, groups, score_function
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes, Overflow, Rounding
from hls4attn.models.operators import E2ContextSpec

_FILES = (
    "net/net_attention.sv",
    "net/net_attention_bank.sv",
    "net/net_attention_constants.sv",
    "net/net_attention_context.sv",
    "net/net_attention_divide.sv",
    "net/net_attention_fifo.sv",
    "net/net_attention_function.sv",
    "net/net_attention_rows.sv",
    "net/net_attention_scores.sv",
    "net/net_attention_words.sv",
    "net/net_product.sv",
    "net/net_tail.sv",
    "op_consmax.sv",
    "op_consmax_split.sv",
    "op_delay.sv",
    "op_e2softmax.sv",
    "op_hold.sv",
    "op_log2exp.sv",
    "op_pick.sv",
    "op_rowbuf.sv",
    "op_softmax.sv",
    "op_table.sv",
    "op_tree.sv",
)
_FUNCTIONS = ("ConSmax", "ConSmaxSplit", "Softmax", "E2Softmax", "E2Context")
#: Tables of the units by what net_attention_function.sv calls them; all but the E2Softmax's codes have a part a head.
_TABLES = {"TABLE0": "TABLE", "ROM_FILE": "TABLE", "CODE_FILE": "TABLE", "HEAD_FILE": "TABLE1"}
_SHARED = "CODE_FILE"
#: Parameters of a unit that the attention states itself.
_OWN = ("IN_W", "OUT_W", "USER_W", "HEADS")
_FLOOR = 2  # among the roundings


def kernel(node: HwNode, graph: Graph, dsp: bool = True) -> RtlKernel:
    """The module of a streaming attention.

    Args:
        node: the fused attention.
        graph: the typed graph, which has the score function's spec.
        dsp: whether its products may take DSP blocks.

    Raises:
        UnsupportedError: for more than one lane.
    """
    ints = node.ints
    if ints["lanes"] != 1:
        raise UnsupportedError(
            f"{node.name}: no RTL for an attention with lanes={ints['lanes']}; use lanes=1 and more parallel_heads, or "
            "build it by HLS"
        )
    spec = spec_of(node, graph)
    shift_form = isinstance(spec, E2ContextSpec)
    unit = exponents(spec, ints["rows"]) if isinstance(spec, E2ContextSpec) else rtl_unit(spec, ints["rows"])
    parameters, roms = _function(node, unit)
    parameters |= {
        "ROWS": ints["rows"],
        "HEADS": ints["heads"],
        "DIM": ints["head_dim"],
        "PARALLEL": ints["parallel_heads"],
        "WIDTH": ints["width"],
        "CAUSAL": ints["causal"],
        "DSP": int(dsp),
        "SCORE_W": ints["in_width"],
        "OUT_W": node.format.width,
        "OUT_SIGNED": int(node.format.signed),
    }
    for name in "qkv":
        parameters |= {f"{name.upper()}_W": ints[f"{name}_width"], f"{name.upper()}_SIGNED": ints[f"{name}_signed"]}
    weights = _division(node, unit) if shift_form else _probabilities(node, unit)
    for part in (_scores(node), _context(node), weights):
        parameters |= part[0]
        roms |= part[1]
    channels = ints["heads"] * ints["head_dim"]
    return RtlKernel(
        "net_attention",
        _FILES,
        tuple(channels * ints[f"{name}_width"] for name in "qkv"),
        channels * node.format.width,
        parameters,
        roms,
    )


Part = tuple[dict[str, int], dict[str, Rom]]


def _function(node: HwNode, unit: RtlUnit) -> Part:
    """The units of the heads that go together: one with the tables of all heads, in the order place, group."""
    heads, parallel, count = node.ints["heads"], node.ints["parallel_heads"], groups(node)
    of_place = 1 << (count - 1).bit_length()
    order = [min(group, count - 1) * parallel + p for p in range(parallel) for group in range(of_place)]
    roms = {}
    for name, rom in unit.roms.items():
        words = rom.words if name == _SHARED else rom.words.reshape(heads, -1)[order]
        roms[f"F_{_TABLES.get(name, name)}"] = Rom(words, rom.width)
    ints = {f"F_{name}": value for name, value in unit.parameters.items() if name not in _OWN}
    return ints | {"FUNCTION": _FUNCTIONS.index(score_function(node)), "F_OUT_W": unit.out_width}, roms


def _tail(ints: Mapping[str, int], roms: Mapping[str, Codes], prefix: str, frac: int, modes: tuple[int, int]) -> Part:
    """Constants of a tail; the half of its rounding is in the offset.

    Args:
        ints: members of the node.
        roms: its tables.
        prefix: of the tail's members and tables.
        frac: fraction bits of the result.
        modes: its rounding and overflow, in the order of `Rounding` and `Overflow`.
    """
    dropped = ints[f"{prefix}sum_frac"] - frac
    half = 1 << (dropped - 1) if dropped > 0 and modes[0] != _FLOOR else 0
    offset = roms.get(f"{prefix}offset", np.zeros(1, dtype=np.int64)) + half
    low, high = (ints[f"{prefix}core_{end}"] for end in ("min", "max"))
    if f"{prefix}scale" in roms:
        low, high = (sign << (ints[f"{prefix}scaled_width"] - 1) for sign in (-1, 1))
    shift = ints.get(f"{prefix}offset_shift", 0)
    low, high = (low << shift) + min(int(offset.min()), 0), (high << shift) + max(int(offset.max()), 0)
    upper = prefix.upper()
    found = {
        f"{upper}CORE_W": ints[f"{prefix}core_width"],
        f"{upper}SCALED_W": ints[f"{prefix}scaled_width"],
        f"{upper}SHIFT": shift,
        f"{upper}SUM_W": max(_signed(low), _signed(high), dropped + 1),
        f"{upper}DROPPED": dropped,
        f"{upper}EVEN": int(modes[0] == 0),
        f"{upper}RELU": ints[f"{prefix}relu"],
        f"{upper}LIMIT": modes[1],
    }
    tables = {}
    if np.any(offset):
        found |= {f"{upper}OFFSET": 1, f"{upper}OFFSET_W": max(map(_signed, (int(offset.min()), int(offset.max()))))}
        tables["OFFSET"] = offset
    if f"{prefix}scale" in roms:
        found |= {f"{upper}SCALE": 1, f"{upper}SCALE_W": ints[f"{prefix}scale_width"]}
        tables["SCALE"] = roms[f"{prefix}scale"]
    return found, {f"{upper}{name}_TABLE": Rom(words, found[f"{upper}{name}_W"]) for name, words in tables.items()}


def _signed(value: int) -> int:
    """Bits of a signed number that holds a value; two at least."""
    return max((value if value >= 0 else -value - 1).bit_length() + 1, 2)


def _scores(node: HwNode) -> Part:
    ints = node.ints
    found, tables = _tail(ints, node.roms, "score_", ints["in_frac"], (ints["in_rounding"], ints["in_overflow"]))
    return found | {name.replace("_TABLE", "S"): len(rom.words) for name, rom in tables.items()}, tables


def _context(node: HwNode) -> Part:
    """The tail of P V; a word of its tables has a chunk's entries."""
    fmt, width = node.format, node.ints["width"]
    modes = get_args(Rounding).index(fmt.rounding), get_args(Overflow).index(fmt.overflow)
    found, tables = _tail(node.ints, node.roms, "", fmt.frac, modes)
    wide: dict[str, Rom] = {}
    for name, rom in tables.items():
        if len(rom.words) == 1:
            words = np.repeat(rom.words, width)
        else:
            words = np.pad(rom.words, (0, chunks(node) * width - len(rom.words)))
        wide[name] = RomRows(words.reshape(-1, width), rom.width)
        found[name.replace("_TABLE", "S")] = len(words) // width
    return found, wide


def _probabilities(node: HwNode, unit: RtlUnit) -> Part:
    """What P V takes for the score function's codes: they as they are, if the format holds them all."""
    ints = node.ints
    top = (1 << (ints["p_width"] - ints["p_signed"])) - 1
    if ints["function_sum_frac"] == ints["p_frac"] and ints["function_core_max"] <= top:
        return {"P_W": unit.out_width}, {}
    tail = {f"p_{n}": ints[f"function_{n}"] for n in ("core_min", "core_max", "core_width", "sum_frac")}
    tail |= {"p_scaled_width": ints["function_core_width"], "p_relu": 0}
    found, tables = _tail(tail, {}, "p_", ints["p_frac"], (ints["p_rounding"], ints["p_overflow"]))
    for name in ("P_CORE_W", "P_SCALED_W", "P_SHIFT", "P_RELU"):
        del found[name]
    return found | {"P_ROUND": 1, "P_W": ints["p_width"], "P_SIGNED": ints["p_signed"]}, tables


def _division(node: HwNode, unit: RtlUnit) -> Part:
    """The shift form: exponents in place of probabilities, and the division of the sums; widths of attn_e2context.h."""
    ints, mantissas = node.ints, node.roms["divider"]
    value = ints["v_width"] + (not ints["v_signed"])
    width = _signed(int(mantissas.max()))
    found = {
        "P_W": unit.out_width,
        "E_FORM": 1,
        "E_FRAC": ints["numerator_frac"],
        "E_CODE_W": ints["code_width"],
        "E_KS_W": max_ks(unit.row_max).bit_length(),
        "E_SUM_W": ints["numerator_frac"] + value + ints["rows"].bit_length(),
        "E_MANTISSAS": len(mantissas),
        "E_MANTISSA_W": width,
        "E_SHIFT": ints["out_shift"],
        "E_LIMIT": int(ints["core_min"] == -ints["core_max"]),
    }
    return found, {"E_TABLE": Rom(mantissas, width)}
