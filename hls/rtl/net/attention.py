# SPDX-License-Identifier: Apache-2.0
"""Streaming self-attention: constants and tables of net_attention.sv for every score function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from hls4attn.hls.design import HwNode
from hls4attn.hls.rtl.e2softmax import exponents, max_ks
from hls4attn.hls.rtl.net.kernel import RtlKernel, spec_of
from hls4attn.hls.rtl.net.tail import RtlTail, by_parts, tail_of
from hls4attn.hls.rtl.unit import Rom, RtlUnit, rtl_unit
from hls4attn.hls.stream.cycles import groups, score_function
from hls4attn.hls.tail import signed_bits
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Fixed, Overflow, Rounding
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
    "net/net_attention_sums.sv",
    "net/net_attention_words.sv",
    "net/net_chain.sv",
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
_OWN = ("IN_W", "OUT_W", "USER_W", "HEADS", "EXPONENTS")


def kernel(node: HwNode, graph: Graph, dsp: bool = True) -> RtlKernel:
    """The module of a streaming attention.

    Args:
        node: the fused attention.
        graph: the typed graph, which has the score function's spec.
        dsp: whether its products may take DSP blocks; what a score function multiplies is up to synthesis.

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
    }
    for name in "qkv":
        parameters |= {f"{name.upper()}_W": ints[f"{name}_width"], f"{name.upper()}_SIGNED": ints[f"{name}_signed"]}
    weights = _division(node, unit) if isinstance(spec, E2ContextSpec) else _probabilities(node, unit)
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


def _tail(tail: RtlTail, prefix: str, channels: int, lanes: int) -> Part:
    """A tail under the names of net_attention.sv; a word of its tables has `lanes` of `channels` constants."""
    ints = {f"{prefix}{name}": value for name, value in tail.parameters.items()}
    roms = {}
    for name, by, codes in (("SCALE", tail.scale_by, tail.scale), ("OFFSET", tail.offset_by, tail.offset)):
        if by:
            words = by_parts(codes, by, 1, channels, lanes)
            ints |= {f"{prefix}{name}": 1, f"{prefix}{name}S": len(words)}
            roms[f"{prefix}{name}_TABLE"] = Rom(words, tail.parameters[f"{name}_W"], lanes)
    return ints, roms


def _format(ints: Mapping[str, int], prefix: str) -> Fixed:
    """A format from a node's numbers for it."""
    modes = get_args(Rounding)[ints[f"{prefix}rounding"]], get_args(Overflow)[ints[f"{prefix}overflow"]]
    return Fixed(ints[f"{prefix}width"], ints[f"{prefix}frac"], bool(ints[f"{prefix}signed"]), *modes)


def _scores(node: HwNode) -> Part:
    """The tail of Q K^T; its constants are a key's."""
    ints, rows = node.ints, node.ints["rows"]
    found, tables = _tail(tail_of(ints, node.roms, _format(ints, "in_"), "score_"), "SCORE_", rows, 1)
    width = found.pop("SCORE_OUT_W")
    del found["SCORE_OUT_SIGNED"]
    return found | {"SCORE_W": width, "SCORE_CORE_W": ints["score_core_width"]}, tables


def _context(node: HwNode) -> Part:
    """The tail of P V; a word of its tables has a chunk's constants."""
    tail = tail_of(node.ints, node.roms, node.format)
    found, tables = _tail(tail, "", node.ints["head_dim"], node.ints["width"])
    return found | {"CORE_W": node.ints["core_width"]}, tables


def _probabilities(node: HwNode, unit: RtlUnit) -> Part:
    """What P V takes for the score function's codes: they as they are, if the format holds them all."""
    ints, fmt = node.ints, _format(node.ints, "p_")
    if ints["function_sum_frac"] == fmt.frac and ints["function_core_max"] <= fmt.max:
        return {"P_W": unit.out_width}, {}
    core = {"sum_width": ints["function_sum_width"], "sum_frac": ints["function_sum_frac"], "relu": 0}
    found, tables = _tail(tail_of(core | {"scaled_width": unit.out_width + 1}, {}, fmt), "P_", 1, 1)
    names = ("P_OFFSET", "P_OFFSET_W", "P_SUM_W", "P_DROPPED", "P_EVEN", "P_LIMIT")
    found = {name: found[name] for name in names if name in found}
    return found | {"P_ROUND": 1, "P_W": fmt.width, "P_SIGNED": int(fmt.signed)}, tables


def _division(node: HwNode, unit: RtlUnit) -> Part:
    """The shift form: exponents in place of probabilities, and the division of the sums; widths of attn_e2context.h."""
    ints, mantissas = node.ints, node.roms["divider"]
    value = ints["v_width"] + (not ints["v_signed"])
    width = signed_bits(mantissas)
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
