# SPDX-License-Identifier: Apache-2.0
"""What ends every kernel in RTL: all roundings and limits of every sum, and how mistakes in them show."""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pytest

from hls4attn.hls.rtl.net.tail import tail_of
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.formats import Fixed, Overflow, Rounding

ROUNDINGS, OVERFLOWS = get_args(Rounding), get_args(Overflow)
#: Results of a 10-bit sum of 5 fraction bits: rounded, exact, moved up, nearly or entirely below the result's step.
TAILS = [
    (Fixed(width, frac, signed, rounding, overflow), relu, offset)
    for rounding, overflow in product(ROUNDINGS, OVERFLOWS)
    for width, frac, signed, relu, offset in (
        (5, 3, True, 0, 0), (6, 4, False, 0, 13), (1, 2, False, 0, 0), (4, 7, True, 1, -7), (3, -3, True, 0, 3),
        (4, -6, True, 0, 0), (6, -60, True, 1, 0), (2, 40, True, 0, 1),
    )
]  # fmt: skip
CORE = 10


def tails_unit() -> RtlUnit:
    """All of them side by side; an input word says which one's result leaves."""
    parts, width = [], max(f.width for f, *_ in TAILS)
    for k, (fmt, relu, offset) in enumerate(TAILS):
        ints = {"core_width": CORE, "scaled_width": CORE, "sum_width": CORE + 1, "sum_frac": 5, "relu": relu}
        ints |= {"offset_by": 1, "offset_width": 6} if offset else {}
        tail = tail_of(ints, {"offset": np.array([offset])}, fmt)
        settings = ", ".join(f".{n}({v})" for n, v in tail.parameters.items())
        term = f"{tail.parameters['OFFSET_W']}'d{int(tail.offset[0]) & (1 << tail.parameters['OFFSET_W']) - 1}"
        parts.append(
            f"wire [{fmt.width - 1}:0] r{k};\n"
            f"net_tail #(.CORE_W({CORE}), .OFFSET({int(tail.offset_by != 0)}), {settings}) tail{k} (.clk(clk), "
            f".en(run), .core(s_tdata[{CORE - 1}:0]), .scale(2'd0), .offset({term}), .code(r{k}));\n"
            f"assign results[{k * width} +: {width}] = "
            + (f"{{{{{width - fmt.width}{{r{k}[{fmt.width - 1}] & 1'b{int(fmt.signed)}}}}}, r{k}}};\n"
               if fmt.width < width else f"r{k};\n")
        )  # fmt: skip
    which = len(TAILS).bit_length()
    text = (
        f"module tails (input wire clk, input wire rst_n, input wire [{CORE + which - 1}:0] s_tdata, "
        "input wire [0:0] s_tuser, input wire s_tvalid, input wire s_tlast, output wire s_tready, "
        f"output wire [{width - 1}:0] m_tdata, output wire m_tvalid, output wire m_tlast, input wire m_tready);\n"
        f"wire run;\nwire [{width * len(TAILS) - 1}:0] results;\nreg [{which - 1}:0] which;\nreg valid, last;\n"
        "assign s_tready = run;\nalways_ff @(posedge clk) begin\n"
        f"if (run) begin which <= s_tdata[{CORE} +: {which}]; last <= s_tlast; end\n"
        "if (!rst_n) valid <= 1'b0; else if (run) valid <= s_tvalid;\nend\n" + "".join(parts) +
        f"op_hold #(.WIDTH({width + 1})) hold (.clk(clk), .rst_n(rst_n), "
        f".d({{last, results[which*{width} +: {width}]}}), "
        ".v(valid), .run(run), .m_data({m_tlast, m_tdata}), .m_valid(m_tvalid), .m_ready(m_tready));\nendmodule\n"
    )  # fmt: skip
    return RtlUnit(
        module="tails",
        files=("net/net_tail.sv", "net/net_product.sv", "op_hold.sv"),
        in_width=CORE + which,
        out_width=width,
        user_width=1,
        in_signed=False,
        out_signed=True,
        row_max=1 << CORE,
        texts={"tails.sv": text},
    )


def tail_rows() -> tuple[np.ndarray, np.ndarray]:
    """Every sum through every tail, and the codes that it should give, as bits of the widest result."""
    sums = np.arange(-(1 << CORE - 1), 1 << CORE - 1)
    words = (np.arange(len(TAILS))[:, None] << CORE) + (sums & ((1 << CORE) - 1))
    width = max(f.width for f, *_ in TAILS)
    codes = []
    for fmt, relu, offset in TAILS:
        total = sums + offset
        code = fmt.requantise(np.maximum(total, 0) if relu else total, 5)
        codes.append(code - ((code >> (width - 1)) << width) if not fmt.signed else code)
    return words, np.array(codes)


@pytest.mark.compile
def test_every_rounding_and_limit_of_every_sum() -> None:
    words, want = tail_rows()
    found = RtlSim(tails_unit()).run(words).outputs
    wrong = [k for k in range(len(TAILS)) if not np.array_equal(found[k], want[k])]
    assert not wrong, [TAILS[k] for k in wrong]


@pytest.mark.compile
def test_ties_upward_are_found() -> None:
    """In the results that round to even, and in no others."""
    words, want = tail_rows()
    text = tails_unit().sources()["net_tail.sv"]
    assert text.count("sum[DOWN-1:0] == '0") == 1
    sim = RtlSim(tails_unit(), {"net_tail.sv": text.replace("sum[DOWN-1:0] == '0", "1'b0")})
    found = sim.run(words).outputs
    wrong = [k for k in range(len(TAILS)) if not np.array_equal(found[k], want[k])]
    assert wrong
    assert {TAILS[k][0].rounding for k in wrong} == {"half_even"}


@pytest.mark.slow
def test_the_netlist_rounds_and_limits_the_same() -> None:
    words, want = tail_rows()
    assert np.array_equal(RtlSim(tails_unit(), netlist=True).run(words).outputs, want)
