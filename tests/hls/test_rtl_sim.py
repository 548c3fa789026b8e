# SPDX-License-Identifier: Apache-2.0
"""The simulation of streaming units itself: what it refuses, what it finds, and what a unit is made of."""

import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.synth import find_yosys, resources
from hls4attn.hls.rtl.unit import Rom, RtlUnit, head_bits, rtl_unit
from hls4attn.models.errors import InputError, SimulationError, SpecError, ToolError, UnsupportedError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSpec

SPEC = ConSmaxSpec(Fixed(8, 4), (1.5, 1.0), (100.0, 50.0), (0.5, 0.5), (8, 8))
ROWS = np.arange(-60, 60).reshape(6, 20)

#: A unit with a switch for each rule of the stream that it can break.
ODD = """`default_nettype none
module op_consmax #(
    parameter int IN_W = 8, parameter int OUT_W = 8, parameter int USER_W = 2, parameter int HEADS = 1,
    parameter TABLE = ""
) (
    input wire clk, input wire rst_n, input wire [IN_W-1:0] s_tdata, input wire [USER_W-1:0] s_tuser,
    input wire s_tvalid, input wire s_tlast, output wire s_tready, output wire [OUT_W-1:0] m_tdata,
    output wire m_tvalid, output wire m_tlast, input wire m_tready
);
logic [IN_W-1:0] word;
logic [7:0] count;
logic full, last;
assign s_tready = READY;
assign m_tvalid = VALID;
assign m_tdata = DATA;
assign m_tlast = LAST;
always_ff @(posedge clk) begin
    if (s_tvalid && s_tready) begin
        word <= s_tdata;
        last <= s_tlast;
    end
    if (!rst_n) begin
        full <= 1'b0;
        count <= 8'd0;
    end else begin
        full <= full ? !m_tready : s_tvalid && s_tready;
        count <= count + 8'd1;
    end
end
endmodule
"""
GOOD = {"READY": "!full", "VALID": "full", "DATA": "word", "LAST": "last"}
FAULTS = {
    "no s_tready at row 0, element 0; output stands at row 0": {"READY": "1'b0"},
    "no m_tvalid at row 0, element 0, everything was taken": {"READY": "1'b1", "VALID": "1'b0"},
    "no m_tlast at row 0, element 19": {"LAST": "1'b0"},
    "m_tlast too early at row 0, element 0": {"LAST": "1'b1"},
    "changed before m_tready": {"DATA": "full ? count : word"},
    "path from m_tready to s_tready": {"READY": "!full && m_tready"},
    "path from s_tvalid to m_tvalid": {"VALID": "full && s_tvalid"},
    "a word behind the last row": {"VALID": "full || count[7]"},
}


def odd_text(**changes: str) -> str:
    text = ODD
    for name, value in {**GOOD, **changes}.items():
        text = text.replace(f"= {name};", f"= {value};")
    return text


def odd(**changes: str) -> RtlSim:
    return RtlSim(rtl_unit(SPEC), sources={"op_consmax.sv": odd_text(**changes)})


def test_a_unit_that_keeps_the_rules_has_no_faults() -> None:
    assert np.array_equal(odd().run(ROWS, stalls=(30, 30)).outputs, ROWS & 255)


@pytest.mark.slow
def test_clang_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shutil.which("clang++"), "clang++ is not on PATH; install it with: sudo apt-get install clang"
    want = RtlSim(rtl_unit(SPEC)).run(ROWS, stalls=(30, 30), seed=2)
    monkeypatch.setenv("CXX", "clang++")
    found = RtlSim(rtl_unit(SPEC)).run(ROWS, stalls=(30, 30), seed=2)
    assert np.array_equal(found.outputs, want.outputs)
    assert found.cycles == want.cycles


@pytest.mark.parametrize("message", sorted(FAULTS))
def test_broken_rules_are_named(message: str) -> None:
    rows, stalls = (ROWS[:3], (0, 0)) if "behind" in message else (ROWS, (30, 30))
    with pytest.raises(SimulationError, match=f"op_consmax: .*{message}"):
        odd(**FAULTS[message]).run(rows, stalls=stalls, patience=300)


def test_a_forgotten_reset_shows() -> None:
    sim = RtlSim(rtl_unit(SPEC), sources={"op_consmax.sv": odd_text().replace("        full <= 1'b0;\n", "")})
    found = set()
    for seed in range(8):
        try:
            found.add(sim.run(ROWS, seed=seed, patience=300).cycles > 0)
        except SimulationError:
            found.add(False)
    assert False in found


def test_words_have_signs_and_64_bits() -> None:
    text = odd_text()
    unit = replace(
        rtl_unit(SPEC), parameters={"IN_W": 64, "OUT_W": 64, "USER_W": 2}, in_width=64, out_width=64, out_signed=True
    )
    ends = np.iinfo(np.int64)
    rows = np.array([[ends.min, -1, 0, ends.max]])
    assert np.array_equal(RtlSim(unit, sources={"op_consmax.sv": text}).run(rows).outputs, rows)
    narrow = replace(rtl_unit(SPEC), out_signed=True)
    assert np.array_equal(RtlSim(narrow, sources={"op_consmax.sv": text}).run(ROWS).outputs, ROWS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": ROWS * 1.0}, "integer codes"),
        ({"rows": ROWS[0]}, "integer codes"),
        ({"rows": ROWS[:0]}, "integer codes"),
        ({"rows": ROWS + 100}, r"outside \[-128, 127\]"),
        ({"heads": 2}, "heads are 0 to 1"),
        ({"heads": -1}, "heads are 0 to 1"),
        ({"lengths": 21}, "length of 21"),
        ({"lengths": 0}, "at least 1"),
        ({"out_lengths": 0}, "at least 1"),
        ({"stalls": (0, 100)}, "stalls are per cent"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        odd().run(**{"rows": ROWS, **arguments})


def test_sources_with_errors_are_refused() -> None:
    with pytest.raises(ToolError, match=r"op_consmax: Verilator: .*op_consmax\.sv:6"):
        RtlSim(rtl_unit(SPEC), sources={"op_consmax.sv": ODD.replace("input wire clk", "input wir clk")})


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))
    monkeypatch.setenv("YOSYS", "no-such-yosys")
    with pytest.raises(ToolError, match="No Yosys at no-such-yosys"):
        find_yosys()
    old = tmp_path / "yosys"
    old.write_text("#!/bin/sh\necho 'Yosys 0.23 (git sha1 7ce5011c24b)'\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("YOSYS", str(old))
    with pytest.raises(ToolError, match=r"Yosys 0\.23 .*0\.70 or newer"):
        resources(rtl_unit(SPEC))
    monkeypatch.setattr("hls4attn.hls.rtl.verilated.sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="No Verilator"):
        RtlSim(rtl_unit(SPEC))


def yosys_that_reports(folder: Path, cells: str) -> str:
    """A stand-in that needs no minute for its first start."""
    script = folder / "yosys"
    script.write_text(
        "#!/bin/sh\n[ \"$1\" = -V ] && echo 'Yosys 0.70' && exit\n"
        f'echo \'{{"design": {{"num_cells_by_type": {cells}}}}}\' > stat.json\ntouch net.v\n'
    )
    script.chmod(0o755)
    return str(script)


def test_cells_are_counted_as_what_they_occupy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))
    cells = '{"LUT1": 1, "LUT6": 4, "RAM32M": 2, "SRL16E": 3, "FDRE": 7, "DSP48E1": 1, "RAMB36E1": 1, "CARRY4": 9}'
    monkeypatch.setenv("YOSYS", yosys_that_reports(tmp_path, cells))
    found = resources(rtl_unit(SPEC))
    assert (found.lut, found.lutram, found.ff, found.dsp, found.bram18, found.tool) == (5, 11, 7, 1, 2, "Yosys 0.70")
    yosys_that_reports(tmp_path, '{"$mem_v2": 1}')
    with pytest.raises(ToolError, match=r"left 1 cells of the type \$mem_v2"):
        resources(rtl_unit(replace(SPEC, gamma=(1.0, 2.0))))


# --- what a unit is made of --------------------------------------------------------------------------------------
def test_tables_are_text_with_a_last_newline() -> None:
    assert Rom(np.array([-1, -8, 7]), 4).text() == "f\n8\n7\n"
    assert Rom(np.array([[0, 31]]), 5).text() == "00\n1f\n"


@pytest.mark.parametrize(("words", "width"), [([16], 4), ([-9], 4), ([-1, 8], 4), ([], 4), ([0], 0), ([0], 65)])
def test_tables_that_do_not_fit_are_refused(words: list[int], width: int) -> None:
    with pytest.raises(SpecError, match=r"fit|1 to 64"):
        Rom(np.array(words, dtype=np.int64), width)


def test_units_name_what_they_need() -> None:
    assert [head_bits(n) for n in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]
    with pytest.raises(UnsupportedError, match="No streaming unit for Fixed; there are units for AILayerNorm"):
        rtl_unit(Fixed(8, 0))
    with pytest.raises(SpecError, match="row_max must be"):
        rtl_unit(SPEC, row_max=0)
    with pytest.raises(SpecError, match=r"no source no\.sv"):
        RtlUnit("no", ("no.sv",)).sources()
