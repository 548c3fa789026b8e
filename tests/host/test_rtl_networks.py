# SPDX-License-Identifier: Apache-2.0
"""Models whose Verilog runs on a rung of `verify` and on an emulated board, here one that only turns its input."""

import json
import re
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import command

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.hwfile import lower_design
from hls4attn.hls.rtl.net.sim import NetworkSim
from hls4attn.hls.rtl.unit import rtl_dir
from hls4attn.hls.stream.cycles import schedule
from hls4attn.host import rtl_network
from hls4attn.host.flow import Flow
from hls4attn.host.ladder import climb
from hls4attn.host.operator_models import operator_model
from hls4attn.host.rtl_choice import rtl_choice
from hls4attn.host.rtl_network import RtlNetworkStage
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.export.execute import random_codes
from hls4attn.models.export.reader import read_graph
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.zoo import zoo_model

DIGITS = zoo_model("digits-vit").folder / "consmax.onnx"
STREAM = HlsConfig(io_type="io_stream")
SHELL_CYCLES = 2  # a register each way


def turned() -> onnx.ModelProto:
    b = GraphBuilder("turned")
    x = b.quant(b.input("input", (6, 8)), Fixed(8, 4), "values", (6, 8))
    return b.model(["input"], [b.transpose(x, (1, 0), "turned")], {})


GRAPH = read_graph(turned())
CHOICE = rtl_choice(GRAPH, STREAM, "pynq-z2", free=True)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "turned.onnx"
    onnx.save(turned(), path)
    return path


def cycles_of(samples: int) -> int:
    sim = NetworkSim(lower_design(GRAPH, STREAM), GRAPH)
    return sim.run(np.zeros((samples, 6, 8), dtype=np.int64)).cycles


@pytest.mark.compile
def test_the_rung_of_a_model(model: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    path = tmp_path / "rungs.json"
    code, said, _ = command(
        capsys, monkeypatch, "verify", model, "--stages", "csim", "--rtl", "--samples", 30, "--json", path
    )
    assert code == 0
    total, first = cycles_of(30), cycles_of(1)
    found = re.search(
        r"  rtl +0/30 mismatches .* \(([\d,]+) cycles: ([\d,]+) for the first sample, (\d+) a sample\)", said
    )
    assert found is not None, said
    assert [int(n) for n in found.groups()] == [total, first, 12]
    assert "Verilog, io_stream, 1 head at a time: the fastest that fits pynq-z2 by count" in said
    assert "  netlist      not compared: synthesis of a whole model takes many minutes; add --netlist" in said
    assert [(row["stage"], row.get("cycles")) for row in json.loads(path.read_text())] == [
        ("csim", None),
        ("rtl", total),
    ]


@pytest.mark.compile
@pytest.mark.slow
def test_its_netlist() -> None:
    codes = random_codes(GRAPH.input, 9, 0)
    (rung,) = climb(GRAPH, {"netlist": lambda: nullcontext(RtlNetworkStage(GRAPH, CHOICE, netlist=True))}, codes)
    assert (rung.stage, rung.samples, rung.mismatches) == ("netlist", 4, 0)


@pytest.mark.compile
def test_a_fault_is_found(monkeypatch) -> None:
    """A result that takes its rows from the other half of the bank."""
    right = "{row_out, half_out}"
    text = (rtl_dir() / "net" / "net_permute.sv").read_text()
    assert text.count(right) == 1
    mutant = {"net_permute.sv": text.replace(right, "{row_out, !half_out}")}
    monkeypatch.setattr(rtl_network, "NetworkSim", partial(NetworkSim, sources=mutant))
    codes = random_codes(GRAPH.input, 9, 0)
    (rung,) = climb(GRAPH, {"rtl": lambda: nullcontext(RtlNetworkStage(GRAPH, CHOICE))}, codes)
    assert rung.mismatches > 0
    assert f"tensor {GRAPH.output.name}" in str(rung.difference)


@pytest.mark.compile
@pytest.mark.usefixtures("pynq_state")
@pytest.mark.parametrize("by", ["option", "environment"])
def test_run_on_a_board_that_runs_verilog(model: Path, tmp_path: Path, monkeypatch, capsys, by: str) -> None:
    from hls4attn.host import connect

    monkeypatch.setattr(connect, "_emulated", {})
    values = np.random.default_rng(0).integers(-128, 128, (20, 6, 8)) / 16
    np.save(tmp_path / "x.npy", values)
    files = ("--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy", "--json", tmp_path / "s.json")
    if by == "environment":
        monkeypatch.setenv("HLS4ATTN_EMULATED_MODEL", "rtl")
    code, said, errors = command(capsys, monkeypatch, "run", model, *files, *(["--rtl"] if by == "option" else []))
    assert code == 0, errors
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["cycles_are"] == "counted in simulated RTL"
    assert summary["cycles"] == cycles_of(20) + SHELL_CYCLES
    assert f"cycles: {summary['cycles']:,}, counted in simulated RTL" in said
    assert np.array_equal(np.load(tmp_path / "y.npy"), values.swapaxes(1, 2))


@pytest.mark.compile
def test_a_board_that_is_served_runs_verilog_too(model: Path, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("grpc")
    from hls4attn.host.remote.__main__ import _overlay

    codes = random_codes(GRAPH.input, 5, 0)
    for wish in ("csim", "rtl"):
        monkeypatch.setenv("HLS4ATTN_EMULATED_MODEL", wish)
        _, kernel = _overlay(str(model), "pynq-z2", tmp_path / wish)
        assert np.array_equal(kernel(codes), codes.swapaxes(1, 2))
        assert ("counted in simulated RTL" in kernel.cycles_are) == (wish == "rtl")
    assert kernel.cycles(5) == cycles_of(5)


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.usefixtures("pynq_state")
def test_the_bench_of_the_digits_model_runs_verilog(monkeypatch, capsys, tmp_path: Path) -> None:
    """All test images; the batch's cycles are those of one packet, which keeps the pace of the slowest kernel."""
    from hls4attn.host import connect

    monkeypatch.setattr(connect, "_emulated", {})
    path = tmp_path / "bench.json"
    code, said, errors = command(capsys, monkeypatch, "bench", "--board", "emulated", "--rtl", "--json", path)
    assert code == 0, errors
    assert re.search(r"quality +accuracy 98\.\d+%, 0/360 mismatches", said)
    assert re.search(r"cycles are +counted in simulated RTL +\n", said)
    found = json.loads(path.read_text())
    cycles = found["cycles"]
    one, batch = cycles["one"], cycles["batch"]
    flow = Flow.open(DIGITS, config=STREAM, fitted=True).for_rtl()
    assert found["made_as"] == flow.rtl_choice.words and found["made_as"] in said
    assert found["simulated_per_s"] > 0 and "on this computer; no speed of hardware" in said
    interval = schedule(lower_design(flow.graph, flow.settings)).interval
    assert 0 <= batch - one - 63 * interval <= interval


# ---- which designs ---------------------------------------------------------------------------------------------------


def test_one_key_at_a_time_where_the_number_is_ours() -> None:
    def lanes(path: Path, **options: object) -> int:
        return Flow.open(path, config=HlsConfig(**options)).for_rtl().config.lanes  # type: ignore[arg-type]

    assert lanes(DIGITS, io_type="io_stream") == 1
    assert lanes(DIGITS, io_type="io_stream", lanes=2) == 2
    assert lanes(DIGITS) == 0
    without = Flow("turned", turned(), config=STREAM)
    assert without.for_rtl() is without


def test_what_the_user_chose_stays() -> None:
    def flow(given: tuple[str, ...] = (), **options: object) -> Flow:
        config = HlsConfig(io_type="io_stream", **options)  # type: ignore[arg-type]
        return Flow.open(DIGITS, config=config, fitted="reuse_factor" not in options).for_rtl(given)

    free = flow()
    assert free.settings == free.rtl_choice.config and free.settings.parallel_heads == 2
    assert flow(lanes=1).settings == free.settings  # there is RTL of no other number
    assert flow(reuse_factor=32).settings == HlsConfig(io_type="io_stream", reuse_factor=32, lanes=1)
    assert flow(("parallel_heads",), parallel_heads=1).settings.parallel_heads == 1
    assert "2 heads at a time, reuse factor" in flow(("parallel_heads",), parallel_heads=2).rtl_choice.words
    with pytest.raises(UnsupportedError, match="lanes"):
        _ = Flow.open(DIGITS, config=HlsConfig(io_type="io_stream", lanes=4), fitted=True).where_rtl(("lanes",))


def test_its_products_are_where_the_choice_puts_them(monkeypatch) -> None:
    seen = {}
    monkeypatch.setattr(rtl_network, "NetworkSim", lambda *given: seen.update(given=given))
    flow = Flow.open(DIGITS, config=STREAM, fitted=True).for_rtl()
    flow.rtl_stage()
    choice = flow.rtl_choice
    assert seen["given"] == (choice.design, flow.graph, choice.budget.chosen, False)
    assert 0 < len(choice.budget.chosen) < len(choice.design.nodes)


# ---- what has no Verilog ---------------------------------------------------------------------------------------------


@pytest.mark.compile
@pytest.mark.usefixtures("pynq_state")
def test_a_model_without_verilog_is_verified_without_it(tmp_path: Path, monkeypatch, capsys) -> None:
    """Its board goes on in C simulation and says so; only what asks for nothing but Verilog is refused."""
    from hls4attn.host import connect

    monkeypatch.setattr(connect, "_emulated", {})
    monkeypatch.setenv("HLS4ATTN_EMULATED_MODEL", "rtl")
    path = tmp_path / "cells.onnx"
    onnx.save(operator_model(GainCellSpec(1, 4, 4, 2)), path)
    arguments = ("--samples", 20, "--io", "io_stream")
    code, said, errors = command(capsys, monkeypatch, "verify", path, *arguments, "--stages", "board,rtl")
    assert code == 0, errors
    assert re.search(r"  rtl +not compared: \S.*gain", said, re.IGNORECASE), said
    assert re.search(r"  board +0/20 mismatches .*\(emulated:pynq-z2, C simulation: there is no RTL of it\)", said)
    code, said, errors = command(capsys, monkeypatch, "verify", path, *arguments, "--stages", "rtl")
    assert code == 2 and "Nothing was compared" in errors
    code, _, errors = command(capsys, monkeypatch, "run", path, "--rtl", "--io", "io_stream")
    assert code == 2 and "leave out --rtl" in errors


@pytest.mark.parametrize("arguments", [("verify", "--rtl"), ("verify", "--stages", "netlist"), ("run", "--rtl")])
def test_arrays_have_no_rtl(model: Path, monkeypatch, capsys, arguments: tuple[str, ...]) -> None:
    verb, *options = arguments
    code, said, errors = command(capsys, monkeypatch, verb, model, *options, "--io", "io_parallel")
    assert code != 0
    assert said == ""
    assert "There is RTL of streaming designs only" in errors
    with pytest.raises(UnsupportedError, match=r"streaming designs only. Received: io_parallel; .*io_stream"):
        rtl_choice(GRAPH, HlsConfig(), "pynq-z2", free=False)
