# SPDX-License-Identifier: Apache-2.0
"""Kernels of networks in RTL: every length back to back, gaps and stalls, their clocks, and mistakes in them."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hls_rows import make
from rtl_checks import lint
from rtl_kernels import CASES, case_of, kernel_of, send, slow

from hls4attn.hls.rtl.net.dense import dense_blocks
from hls4attn.hls.rtl.net.kernel import RtlKernel, rtl_kernel
from hls4attn.hls.rtl.net.kernel_sim import KernelSim, kernel_unit, pack_rows, unpack_rows
from hls4attn.hls.rtl.net.tail import tail_of
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.synth import resources
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.errors import Hls4attnError, InputError, UnsupportedError
from hls4attn.models.formats import Fixed, Overflow, Rounding

STALLS = ((0, 0), (60, 0), (0, 60), (40, 40))


@cache
def sim_of(name: str, dsp: bool = True) -> KernelSim:
    return KernelSim(kernel_of(name, dsp))


def depth(kernel: RtlKernel, cycles: int) -> int:
    """Clocks from a row's last part to its result: front, kernel, tail, and a register if parts are put together."""
    p = kernel.parameters
    tree = ((p.get("IN_BLOCK", 1) - 1).bit_length() + 1) // 2
    own = {"net_dense": 2 + tree, "net_affine": 0, "net_binary": 1}[kernel.module]
    return 1 + own + (2 if p["SCALE_BY"] else 1) + (cycles > 1)


@pytest.mark.compile
@pytest.mark.parametrize("name", CASES)
def test_every_length_with_gaps_and_stalls(name: str) -> None:
    """Same codes at every pace; without stalls a row every `cycles` clocks, the first result as early as stated."""
    case = case_of(name)
    for seed, stalls in enumerate(STALLS):
        run, want = send(sim_of(name), case, stalls, seed)
        assert np.array_equal(run.rows, want)
    run, _ = send(sim_of(name), case)
    assert set(np.diff(run.starts)) == {case.cycles}
    if case.node.op != "AttnReduceSum":
        assert np.all(run.ends - run.starts == case.cycles + depth(kernel_of(name), case.cycles))


@pytest.mark.compile
@pytest.mark.parametrize("name", ["dense, by blocks", "multiply"])
def test_products_of_look_up_tables(name: str) -> None:
    run, want = send(sim_of(name, dsp=False), case_of(name), (30, 30))
    assert np.array_equal(run.rows, want)


@pytest.mark.parametrize("name", CASES)
def test_linters_have_nothing_to_say(tmp_path: Path, name: str) -> None:
    unit = kernel_unit(kernel_of(name, dsp="," in name))
    assert lint(tmp_path, unit) == ""
    front = unit.sources()["net_front.sv"]
    assert "end_row" in lint(tmp_path, unit, {"net_front.sv": front.replace("end_row <= ", "end_row <= 2'd0 + ")})


MUTANTS = {
    "weights a step late": ("dense, by blocks", "net_dense.sv", "weights <= rom[step]", "weights <= rom[step+1'b1]"),
    "no borrow given back": (
        "dense, by blocks",
        "net_dense.sv",
        "high + $signed({{(ACC_W-1){1'b0}}, acc[ACC_W-1]})",
        "high",
    ),
    "sums go on": ("dense, by blocks", "net_dense.sv", "starting || INS == 1 ?", "INS == 1 ?"),
    "ties upward": ("dense, ties to even", "net_tail.sv", "sum[DOWN-1:0] == '0", "1'b0"),
    "wraps": ("dense, ties to even", "net_tail.sv", "above == '0 ||", "1'b1 ||"),
    "the row is not held": ("dense, by blocks", "net_front.sv", "if (fresh) row <= s_data;", "row <= s_data;"),
    "a full row is written over": ("dense, by blocks", "net_back.sv", "run = !(complete && full)", "run = 1'b1"),
    "sums of two sequences": ("reduce", "net_reduce.sv", "first_row <= end_row;", "first_row <= 1'b0;"),
    "another operand's place": ("add", "net_binary.sv", "part[n*PAIR_W+A_W +: B_W]", "part[n*PAIR_W +: B_W]"),
    "a row of one operand alone": ("add", "net_binary.sv", "s_ready && s1_tvalid", "s_ready"),
}


@pytest.mark.compile
@pytest.mark.parametrize("mutant", MUTANTS)
def test_mistakes_are_found(mutant: str) -> None:
    name, file, right, wrong = MUTANTS[mutant]
    text = kernel_unit(kernel_of(name)).sources()[file]
    assert text.count(right) >= 1
    sim = KernelSim(kernel_of(name), {file: text.replace(right, wrong)})
    assert any(differs(sim, name, stalls) for stalls in ((40, 40), (0, 95)))


def differs(sim: KernelSim, name: str, stalls: tuple[int, int]) -> bool:
    try:
        run, want = send(sim, case_of(name), stalls, 3)
    except Hls4attnError:
        return True
    return not np.array_equal(run.rows, want)


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


@pytest.mark.slow
def test_the_netlist_rounds_and_limits_the_same() -> None:
    words, want = tail_rows()
    assert np.array_equal(RtlSim(tails_unit(), netlist=True).run(words).outputs, want)


@pytest.mark.slow
@pytest.mark.parametrize("dsp", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_the_netlist_does_the_same(name: str, dsp: bool) -> None:
    run, want = send(KernelSim(kernel_of(name, dsp), netlist=True), case_of(name), (30, 30))
    assert np.array_equal(run.rows, want)


@pytest.mark.slow
def test_two_products_a_dsp_block() -> None:
    name = "dense, a row a clock"
    case = case_of(name)
    products = case.node.ints["n_in"] * case.node.ints["n_out"]
    assert dense_blocks(case.node).products == resources(kernel_unit(kernel_of(name))).dsp == products // 2
    assert resources(kernel_unit(kernel_of(name, dsp=False))).dsp == 0


NORMS = {"layernorm": 0, "ailayernorm": 2}


@pytest.mark.slow
@pytest.mark.parametrize("name", NORMS)
def test_normalisations_of_several_units(name: str) -> None:
    """Rows dealt out to units leave in order, at the pace of the kernel."""
    found = make(NORMS[name], name, False)
    case = slow(found, -(-found.node.ints["channels"] // 4))
    kernel = rtl_kernel(case.node, case.graph)
    assert kernel.parameters["UNITS"] > 1
    sim = KernelSim(kernel)
    for stalls in ((0, 0), (50, 50)):
        run, want = send(sim, case, stalls, 1)
        assert np.array_equal(run.rows, want)
    run, _ = send(sim, case)
    assert np.diff(run.starts)[kernel.parameters["UNITS"] :].max() <= case.cycles


def test_what_there_is_no_rtl_for() -> None:
    for seed in range(40):
        case = make(seed, "layernorm", True)
        if 3 in (case.node.ints.get("scale_by"), case.node.ints.get("offset_by")):
            with pytest.raises(UnsupportedError, match="norm.*layer_reuse_factor = "):
                rtl_kernel(case.node, case.graph)
            return
    raise AssertionError("no case with constants of each element")


def test_rows_as_bytes() -> None:
    fmt = Fixed(5, 2)
    rows = np.array([[-16, 15, 3], [1, -1, 0]])
    packed = pack_rows(rows, fmt, 4)
    assert packed[0].tolist() == [0b11110000, 0b00001101, 0, 0]
    assert np.array_equal(unpack_rows(packed, fmt, 3), rows)


@pytest.mark.compile
def test_rows_that_do_not_fit_are_refused() -> None:
    case = case_of("affine")
    rows = np.full((1, case.node.ints["channels"]), 1 << 40)
    with pytest.raises(InputError, match="1 rows of"):
        sim_of("affine").run([rows], case.node.in_formats, case.node.format, [1])
