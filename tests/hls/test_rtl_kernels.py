# SPDX-License-Identifier: Apache-2.0
"""Kernels of networks in RTL: every length back to back, gaps and stalls, their clocks, and mistakes in them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hls_rows import make
from rtl_checks import lint
from rtl_kernels import CASES, case_of, kernel_of, send, slow

from hls4attn.hls.rtl.net.dense import dense_blocks
from hls4attn.hls.rtl.net.kernel import RtlKernel, rtl_kernel
from hls4attn.hls.rtl.net.kernel_sim import KernelSim, kernel_unit, pack_rows, unpack_rows
from hls4attn.hls.rtl.synth import resources
from hls4attn.models.errors import Hls4attnError, InputError, UnsupportedError
from hls4attn.models.formats import Fixed

STALLS = ((0, 0), (60, 0), (0, 60), (40, 40))


@cache
def sim_of(name: str, dsp: bool = True) -> KernelSim:
    return KernelSim(kernel_of(name, dsp))


def depth(kernel: RtlKernel, cycles: int) -> int:
    """Clocks from a row's last part to its result: front, kernel, tail, and a register if parts are put together."""
    p = kernel.parameters
    chains = -(-p.get("IN_BLOCK", 1) // p.get("CHAIN", 1))
    tree = ((chains - 1).bit_length() + 1) // 2
    own = {"net_dense": 1 + p.get("CHAIN", 1) + tree, "net_affine": 0, "net_binary": 1}[kernel.module]
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
    units = kernel.parameters["UNITS"]
    assert (run.starts[units:] - run.starts[:-units]).max() <= units * case.cycles  # a turn of all units


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
