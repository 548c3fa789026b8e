# SPDX-License-Identifier: Apache-2.0
"""The kernel of a gain-cell co-processor: heads behind AXI4-Streams, which remember (hls/nnet/attn_gaincell_axis.h)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hls4attn.hls.axis import KernelSource, check_name, closure, write_source
from hls4attn.hls.axis_cpp import IN, OUT, port_members
from hls4attn.hls.emit import fifo_cpp, members_cpp, rom_cpp
from hls4attn.hls.gaincell import current_rows, structure
from hls4attn.hls.limits import MAX_WORD
from hls4attn.hls.stream.packets import FLAGS
from hls4attn.hls.stream.ports import PortRows, code_bits
from hls4attn.models.errors import SpecError, UnsupportedError
from hls4attn.models.operators import GainCellSpec

#: TUSER of a word: its kind, and its layer from bit 2 on.
TOKEN, CLEAR, CURRENT, TABLE = range(4)
USER_BITS, LAYER_BIT = 8, 2
MAX_LAYERS = 1 << (USER_BITS - LAYER_BIT)
#: Bits of a code of a token, and tables that the memory of currents holds.
_CODE_BITS, _TABLES = 8, 2
_HEADER = "attn_gaincell_axis.h"

_TEXT = """// SPDX-License-Identifier: Apache-2.0
//
// {name}: gain-cell heads between AXI4-Streams; see attn_gaincell_axis.h.  Generated.

#include "attn_gaincell_axis.h"

struct {name}_cells : hls4attn::gaincell_config {{
{cells}}};
struct {name}_in : hls4attn::axis_config {{
{members_in}}};
struct {name}_out : hls4attn::axis_config {{
{members_out}}};
typedef hls4attn::row<ap_ufixed<{in_bits}, {in_bits}>, {in_channels}> {name}_in_row;
typedef hls4attn::row<ap_fixed<{out_bits}, {out_bits}>, {out_channels}> {name}_out_row;
typedef hls4attn::axis<{user}>::word {name}_in_word;
typedef hls4attn::axis<0>::word {name}_out_word;

// The heads, and what they remember.  A reset empties the windows; the table in use stays.
static void {name}_heads(hls::stream<hls4attn::cells_order> &orders, hls::stream<{name}_in_row> &rows,
                         hls::stream<{name}_out_row> &results, hls::stream<hls4attn::cells_flag> &answered) {{
    static hls4attn::gaincell_sizes<{name}_cells>::key_memory kept_keys;
    static hls4attn::gaincell_sizes<{name}_cells>::value_memory kept_values;
    static hls4attn::cells_memory<{name}_cells>::slots kept_next;
    #pragma HLS ARRAY_PARTITION variable=kept_next complete
    #pragma HLS RESET variable=kept_next
    static hls4attn::cells_memory<{name}_cells>::slots kept_filled;
    #pragma HLS ARRAY_PARTITION variable=kept_filled complete
    #pragma HLS RESET variable=kept_filled
    static bool kept_half = false;
    static hls4attn::cells_memory<{name}_cells>::address kept_address = 0;
    #pragma HLS RESET variable=kept_address
    {currents}
    hls4attn::cells_serve<{name}_cells>(orders, rows, results, answered, kept_keys, kept_values, kept_next,
                                        kept_filled, kept_currents, kept_half, kept_address);
}}

void {name}(hls::stream<{name}_in_word> &{port_in}, hls::stream<{name}_out_word> &{port_out}) {{
    #pragma HLS INTERFACE axis port={port_in}
    #pragma HLS INTERFACE axis port={port_out}
    #pragma HLS INTERFACE ap_ctrl_none port=return
    #pragma HLS DATAFLOW
{streams}    HLS4ATTN_PROCESS(hls4attn::cells_route<{name}_in_word, {name}_in>({port_in}, orders, kinds, words))
    HLS4ATTN_PROCESS(hls4attn::cells_rows<{name}_in_row, {name}_in>(kinds, words, rows, ends))
    HLS4ATTN_PROCESS({name}_heads(orders, rows, results, answered))
    HLS4ATTN_PROCESS(hls4attn::cells_answers<{name}_out_row, {name}_out_word, {name}_out>(answered, results, ends,
                                                                                          {port_out}))
    HLS4ATTN_JOIN
}}
"""


def gaincell_source(
    name: str,
    spec: GainCellSpec,
    layers: int,
    current_width: int,
    folder: Path | str,
    *,
    part: str,
    clock_period_ns: float,
    backend: str = "Vitis",
) -> KernelSource:
    """Write the kernel of gain-cell heads.

    The folder can be moved afterwards: everything that synthesis reads is in it, but for the tool's own headers.

    Args:
        name: of the IP and of its top function.
        spec: the heads of a layer; its currents are the table at power-up.
        layers: windows.
        current_width: signed bits of a current of any table.
        folder: where its files go; made if missing, files of the same names are replaced.
        part: the FPGA.
        clock_period_ns: target clock period.
        backend: Vitis or Vivado.

    Raises:
        InputError: for a name that no function can have.
        ModelFileError: if the folder cannot be written.
        SpecError: for layers or currents that cannot be built.
        UnsupportedError: for heads that are wider than a stream, or with noise or spread.
    """
    check_name(name)
    text = cells_cpp(name, spec, layers, current_width)
    files = {f"{name}.cpp": text.encode()}
    return write_source(
        Path(folder),
        name,
        files,
        (f"{name}.cpp",),
        part,
        clock_period_ns,
        backend,
        headers=closure(_HEADER),
        user_bits=USER_BITS,
    )


def cells_cpp(name: str, spec: GainCellSpec, layers: int, current_width: int) -> str:
    """The kernel's text; arguments and errors as of `gaincell_source`."""
    if not spec.nonideal.ideal:
        raise UnsupportedError(f"{spec.op_type} with noise or spread has no hardware; set nonideal=IDEAL")
    if not 1 <= layers <= MAX_LAYERS:
        raise SpecError(f"A gain-cell kernel has 1 to {MAX_LAYERS} layers. Received: {layers}")
    ints = structure(spec, current_width) | {"layers": layers, "tables": _TABLES}
    table = current_rows(spec)
    if table.min() < -1 << (current_width - 1) or table.max() >= 1 << (current_width - 1):
        raise SpecError(f"current_width={current_width} does not hold the spec's own currents; raise it")
    source, answer = token_rows(spec)
    widest = spec.head_dim * max(source.bits, answer.bits)
    if widest > MAX_WORD:
        raise UnsupportedError(
            f"Heads of {spec.head_dim} codes are {widest} bits wide, streams {MAX_WORD}; take a smaller head_dim"
        )
    streams = (
        ("hls4attn::cells_order", "orders", 2),
        ("hls4attn::cells_flag", "kinds", 2),
        ("hls4attn::cells_word", "words", 2),
        (f"{name}_in_row", "rows", max(2, source.rows)),  # the next token waits here
        ("hls4attn::axis_flag", "ends", FLAGS),
        (f"{name}_out_row", "results", max(2, answer.rows)),
        ("hls4attn::cells_flag", "answered", 2),
    )
    return _TEXT.format(
        name=name,
        cells=members_cpp(ints),
        members_in=port_members(source),
        members_out=port_members(answer),
        in_bits=source.bits,
        in_channels=source.channels,
        out_bits=answer.bits,
        out_channels=answer.channels,
        user=USER_BITS,
        currents=_currents(table.ravel(), current_width),
        streams="".join(fifo_cpp(*s) for s in streams),
        port_in=IN,
        port_out=OUT,
    )


def token_rows(spec: GainCellSpec) -> tuple[PortRows, PortRows]:
    """How a token and its answer cross the adaptors: a head a row."""
    answer = code_bits(spec.out_format, f"{spec.op_type}: sums")
    return PortRows(3 * spec.heads, spec.head_dim, _CODE_BITS), PortRows(spec.heads, spec.head_dim, answer)


def _currents(table: np.ndarray, width: int) -> str:
    """The memory of both tables, which hold the same at power-up; wide enough for any current."""
    ctype = "signed char" if width <= 8 else "short" if width <= 16 else "int"
    text = rom_cpp("kept_currents", np.concatenate([table] * _TABLES))
    entries = text[text.index("[") :].replace("\n", "\n        ").rstrip()
    return f"static {ctype} kept_currents{entries}"
