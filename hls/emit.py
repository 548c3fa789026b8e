# SPDX-License-Identifier: Apache-2.0
"""C++ text for a hardware node: types, tables, configuration struct and call.  Needs nothing but the node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from hls4attn.hls.design import TAIL_ROMS, Design, HwNode, Stream
from hls4attn.hls.limits import COMPLETE_PARTITION
from hls4attn.models.formats import Codes, Fixed

ROUNDING = {"half_even": "AP_RND_CONV", "half_up": "AP_RND", "floor": "AP_TRN"}
OVERFLOW = {"saturate": "AP_SAT", "saturate_symmetric": "AP_SAT_SYM", "wrap": "AP_WRAP"}
_C_TYPES = (("signed char", 8), ("short", 16), ("int", 32), ("long long", 64))
_ENTRIES_A_LINE = 32
_FLAGS = ("relu", "causal", "folded", "round_half_up", "_signed")


def cpp_type(fmt: Fixed) -> str:
    """The ap_fixed type of a format."""
    name = "ap_fixed" if fmt.signed else "ap_ufixed"
    # ap_ufixed has no negative range to give up; AP_SAT_SYM would mean the same with more text.
    overflow = "saturate" if not fmt.signed and fmt.overflow == "saturate_symmetric" else fmt.overflow
    return f"{name}<{fmt.width}, {fmt.integer}, {ROUNDING[fmt.rounding]}, {OVERFLOW[overflow]}>"


def rom_cpp(name: str, codes: Codes) -> str:
    """A table as a constant array of the smallest C type that holds it: no code runs to fill it."""
    low, high = int(codes.min()), int(codes.max())
    ctype, bits = next((t, b) for t, b in _C_TYPES if -(1 << (b - 1)) <= low and high < 1 << (b - 1))
    suffix = "LL" if bits == 64 else ""
    entries = [f"{int(v)}{suffix}" for v in np.asarray(codes).ravel()]
    lines = (", ".join(entries[i : i + _ENTRIES_A_LINE]) for i in range(0, len(entries), _ENTRIES_A_LINE))
    return f"static const {ctype} {name}[{len(entries)}] = {{\n" + ",\n".join(lines) + "};\n"


def config_cpp(node: HwNode, index: int, reuse_factor: int | None = None) -> str:
    """The node's tables and its configuration struct ``config<index>``.

    Args:
        node: the node.
        index: number of the struct.
        reuse_factor: of an io_parallel kernel; a streaming one brings its own.
    """
    text = "".join(rom_cpp(f"{name}{index}", rom) for name, rom in node.roms.items())
    ints = dict(node.ints)
    if reuse_factor is not None:
        ints["reuse_factor"] = reuse_factor
        multipliers = {
            "AttnDense": node.ints.get("n_in", 0) * node.ints.get("n_out", 0),
            "AttnMatMul": node.ints.get("inner", 0) * node.ints.get("cols", 0),
        }.get(node.op)
        if multipliers:
            ints["multiplier_limit"] = -(-multipliers // reuse_factor)
    for name, rom in node.roms.items():
        if name in ("table", *TAIL_ROMS):
            ints[f"{name}_banks"] = constant_banks(node, rom.size)
    return f"{text}struct config{index} : hls4attn::{node.kernel.base} {{\n{members_cpp(ints)}}};\n"


def members_cpp(ints: Mapping[str, int]) -> str:
    """Members of a configuration struct."""
    return "".join(f"    static const {_ctype(name)} {name} = {_literal(name, v)};\n" for name, v in ints.items())


def constant_banks(node: HwNode, size: int) -> int:
    """Memories of an io_parallel kernel's constant: logic for all of it if a row reads it at once, else one a channel.

    Args:
        node: the kernel.
        size: of the constant.
    """
    if size <= COMPLETE_PARTITION:
        return size
    return node.shape[-1] if size == node.size else 1


def _ctype(name: str) -> str:
    if name.endswith(("core_min", "core_max", "charge_limit")):
        return "long long"
    return "bool" if name.endswith(_FLAGS) else "int"


def _literal(name: str, value: int) -> str:
    ctype = _ctype(name)
    if ctype == "bool":
        return "true" if value else "false"
    return f"{value}LL" if ctype == "long long" else str(value)


def call_cpp(node: HwNode, index: int, inputs: list[tuple[str, str]], output: tuple[str, str]) -> str:
    """The io_parallel kernel's call; inputs and output are pairs of C++ type and variable name."""
    types = ", ".join([*(t for t, _ in inputs), output[0], f"config{index}"])
    arguments = ", ".join([*(v for _, v in inputs), output[1], *_rom_arguments(node, index)])
    return f"hls4attn::{node.kernel.function}<{types}>({arguments});"


def stream_call_cpp(
    node: HwNode, index: int, inputs: list[tuple[str, str]], outputs: list[tuple[str, str]], length: str
) -> str:
    """The streaming kernel's call, without the semicolon; `length` says how many rows the sequence has."""
    variables = [v for _, v in (*inputs, *outputs)]
    if node.op == "AttnFork":
        return f"hls4attn::fork<{inputs[0][0]}, config{index}>({', '.join([*variables, length])})"
    types = ", ".join([*(t for t, _ in inputs), outputs[0][0], f"config{index}"])
    arguments = ", ".join([*variables, *_rom_arguments(node, index), length])
    return f"hls4attn::{node.kernel.function}<{types}>({arguments})"


def _rom_arguments(node: HwNode, index: int) -> list[str]:
    return [f"{n}{index}" if n in node.roms else "hls4attn::none" for n in (*node.kernel.roms, *TAIL_ROMS)]


def length_rows(node: HwNode, streams: Mapping[str, Stream]) -> Stream:
    """The stream whose rows a kernel counts: its result's for a permute, else what it reads."""
    return streams[node.output if node.op == "AttnPermute" else node.inputs[0]]


def tap_cpp(position: int, variable: str, size: int) -> str:
    """The line behind a call where a tracing simulation records its result."""
    return f"HLS4ATTN_TAP({position}, {variable}, {size})"


def design_cpp(design: Design, function: str, reuse_factor: int = 1) -> str:
    """A whole design as one stand-alone C++ function, for benches without hls4ml.

    Its types are `port_in_t` and `port_out_t`.  A streaming design's ports carry `port_in_row` and `port_out_row`, and
    its third argument is the length of the sequence: a number of tokens, or an object that says it when asked.
    """
    if design.io_type == "io_stream":
        return _stream_design_cpp(design, function)
    headers = sorted({n.kernel.header for n in design.nodes})
    names = {design.input.name: ("port_in_t", "port_in")}
    body, types, configs = [], [], []
    for index, node in enumerate(design.nodes, start=1):
        configs.append(config_cpp(node, index, reuse_factor))
        types.append(f"typedef {cpp_type(node.format)} layer{index}_t;\n")
        target = (f"layer{index}_t", f"layer{index}_out")
        if node is not design.last:
            body.append(f"    {target[0]} {target[1]}[{node.size}];\n")
        call = call_cpp(node, index, [names[n] for n in node.inputs], target)
        body.append(f"    {call}\n    {tap_cpp(index - 1, target[1], node.size)}\n")
        names[node.output] = target
    result = names[design.last.output]
    return (
        "".join(f'#include "{h}"\n' for h in headers)
        + f"typedef {cpp_type(design.input.format)} port_in_t;\n"
        + "".join(types)
        + f"typedef {result[0]} port_out_t;\n"
        + "".join(configs)
        + f"void {function}(port_in_t port_in[], {result[0]} {result[1]}[]) {{\n"
        + "".join(body)
        + "}\n"
    )


def _stream_design_cpp(design: Design, function: str) -> str:
    names = {design.input.name: ("port_in_row", "port_in")}
    types = [_row_cpp("port_in", cpp_type(design.input.format), design.input_stream)]
    configs, fifos, calls = [], [], []
    result, position, asked = design.result, 0, False
    for index, node in enumerate(design.nodes, start=1):
        configs.append(config_cpp(node, index))
        types.append(_row_cpp(f"layer{index}", cpp_type(node.format), design.streams[node.output]))
        for copy, name in enumerate(node.outputs):
            names[name] = (f"layer{index}_row", f"layer{index}_out" + (f"_{copy}" if node.copies else ""))
            if name == result:
                types.append(f"typedef layer{index}_t port_out_t;\ntypedef layer{index}_row port_out_row;\n")
            else:
                fifos.append(fifo_cpp(*names[name], design.streams[name].depth))
        counted = length_rows(node, design.streams)
        length = "length" if counted.tokens else str(counted.rows)
        asked |= counted.tokens
        call = stream_call_cpp(node, index, [names[n] for n in node.inputs], [names[n] for n in node.outputs], length)
        mark = "REGION" if node.kernel.region else "PROCESS"
        calls.append(f"    HLS4ATTN_{mark}({call})\n")
        if not node.moves:
            calls.append(f"    {tap_cpp(position, names[node.output][1], node.size)}\n")
            position += 1
    return (
        "".join(f'#include "{h}"\n' for h in stream_headers(design.nodes))
        + "".join(types)
        + "".join(configs)
        + f"template <class length_T>\nvoid {function}(hls::stream<port_in_row> &port_in, "
        + f"hls::stream<port_out_row> &{names[result][1]}, const length_T{' length' if asked else ''}) {{\n"
        + "    #pragma HLS DATAFLOW\n"
        + "".join(fifos)
        + "".join(calls)
        + "    HLS4ATTN_JOIN\n}\n"
    )


def stream_headers(nodes: Iterable[HwNode]) -> list[str]:
    """Header files of the nodes' streaming kernels."""
    return sorted({n.kernel.stream_header for n in nodes})


def _row_cpp(name: str, ctype: str, stream: Stream) -> str:
    return f"typedef {ctype} {name}_t;\ntypedef hls4attn::row<{name}_t, {stream.channels}> {name}_row;\n"


def fifo_cpp(ctype: str, name: str, depth: int) -> str:
    """Lines that declare a FIFO."""
    return (
        f'    hls::stream<{ctype}> {name}("{name}");\n'
        f"    #pragma HLS STREAM variable={name} depth={depth}\n"
        f"    HLS4ATTN_DEPTH({name}, {depth})\n"
    )
