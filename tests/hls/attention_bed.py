# SPDX-License-Identifier: Apache-2.0
"""A streaming attention in RTL alone: a bed around it that lets it be driven as an operator's unit is.

Words in are an element of v, k and q each, words out an element of a row of results, and behind each row the clock at
which it left.  Rows wait in memories of the bed, until as many of them are there as `hold` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hls4attn.hls.design import HwNode
from hls4attn.hls.rtl.net.kernel import RtlKernel, rtl_kernel
from hls4attn.hls.rtl.sim import RtlSim
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes

_CLOCK_W = 32
_BED = """// SPDX-License-Identifier: Apache-2.0
`default_nettype none
module attention_bed #({parameters}
    parameter int HOLD = 0,
    parameter int STALL = 0,
    parameter int DEPTH = 1024
) (
    input wire clk, input wire rst_n, input wire [{in_top}:0] s_tdata, input wire [1:0] s_tuser, input wire s_tvalid,
    input wire s_tlast, output wire s_tready, output wire [{out_top}:0] m_tdata, output wire m_tvalid,
    output wire m_tlast, input wire m_tready
);
localparam int C = {channels};
localparam int A = $clog2(DEPTH);
reg [15:0] at, out_at;
reg [C*{q}-1:0] q_row;
reg [C*{k}-1:0] k_row;
reg [C*{v}-1:0] v_row;
reg [C*{q}:0] q_rows [0:DEPTH-1];
reg [C*{k}:0] k_rows [0:DEPTH-1];
reg [C*{v}:0] v_rows [0:DEPTH-1];
reg [C*{y}+32:0] y_rows [0:DEPTH-1];
reg [A:0] filled, q_at, k_at, v_at, y_at, y_read;
reg [31:0] clocks;
reg [15:0] noise;
reg held;
wire go = !held && filled != '0;
wire [C*{q}-1:0] q_next = (C*{q})'({{s_tdata[{q}-1:0], q_row}} >> {q});
wire [C*{k}-1:0] k_next = (C*{k})'({{s_tdata[{q}+:{k}], k_row}} >> {k});
wire [C*{v}-1:0] v_next = (C*{v})'({{s_tdata[{q}+{k}+:{v}], v_row}} >> {v});
reg s0_valid, s1_valid, s2_valid, y_ready;
wire s0_ready, s1_ready, s2_ready, y_valid, y_last;
wire [C*{y}-1:0] y;
assign s_tready = filled != DEPTH;
always_ff @(posedge clk) begin
    noise <= !rst_n ? 16'h1 : {{noise[14:0], noise[15] ^ noise[14] ^ noise[12] ^ noise[3]}};
    clocks <= !rst_n || !go ? 0 : clocks + 1;
    if (s_tvalid && s_tready) begin
        q_row <= q_next; k_row <= k_next; v_row <= v_next;
        if (at == C - 1) begin
            q_rows[filled[A-1:0]] <= {{s_tlast, q_next}};
            k_rows[filled[A-1:0]] <= {{s_tlast, k_next}};
            v_rows[filled[A-1:0]] <= {{s_tlast, v_next}};
        end
    end
    if (y_valid && y_ready) y_rows[y_at[A-1:0]] <= {{y_last, clocks, y}};
    if (!rst_n) begin
        at <= 0; filled <= 0; q_at <= 0; k_at <= 0; v_at <= 0; y_at <= 0; y_read <= 0; out_at <= 0; held <= 1;
        s0_valid <= 0; s1_valid <= 0; s2_valid <= 0; y_ready <= 0;
    end else begin
        if (filled >= HOLD) held <= 0;
        if (s_tvalid && s_tready) begin
            at <= at == C - 1 ? 0 : at + 1'b1;
            if (at == C - 1) filled <= filled + 1'b1;
        end
        if (s0_valid && s0_ready) q_at <= q_at + 1'b1;
        if (s1_valid && s1_ready) k_at <= k_at + 1'b1;
        if (s2_valid && s2_ready) v_at <= v_at + 1'b1;
        if (!s0_valid || s0_ready) s0_valid <= go && q_at + (A+1)'(s0_valid) != filled && (STALL == 0 || noise[0]);
        if (!s1_valid || s1_ready) s1_valid <= go && k_at + (A+1)'(s1_valid) != filled && (STALL == 0 || noise[3]);
        if (!s2_valid || s2_ready) s2_valid <= go && v_at + (A+1)'(s2_valid) != filled && (STALL == 0 || noise[5]);
        y_ready <= STALL == 0 || (noise[9:8] == 0);
        if (y_valid && y_ready) y_at <= y_at + 1'b1;
        if (m_tvalid && m_tready) begin
            out_at <= out_at == C ? 0 : out_at + 1'b1;
            if (out_at == C) y_read <= y_read + 1'b1;
        end
    end
end
wire [C*{y}+32:0] y_now = y_rows[y_read[A-1:0]];
wire [31:0] element = 32'(y_now >> (out_at * {y}));
assign m_tdata = out_at == C ? y_now[C*{y} +: 32] : {{{{(32 - {y}){{{sign}}}}}, element[{y}-1:0]}};
assign m_tlast = out_at == C && y_now[C*{y}+32];
assign m_tvalid = y_read != y_at;
wire [C*{q}:0] q_now = q_rows[q_at[A-1:0]];
wire [C*{k}:0] k_now = k_rows[k_at[A-1:0]];
wire [C*{v}:0] v_now = v_rows[v_at[A-1:0]];
net_attention #({settings}) dut (
    .clk(clk), .rst_n(rst_n), .s0_tdata(q_now[C*{q}-1:0]), .s0_tlast(q_now[C*{q}]), .s0_tvalid(s0_valid),
    .s0_tready(s0_ready), .s1_tdata(k_now[C*{k}-1:0]), .s1_tlast(k_now[C*{k}]), .s1_tvalid(s1_valid),
    .s1_tready(s1_ready), .s2_tdata(v_now[C*{v}-1:0]), .s2_tlast(v_now[C*{v}]), .s2_tvalid(s2_valid),
    .s2_tready(s2_ready), .m_tdata(y), .m_tvalid(y_valid), .m_tlast(y_last), .m_tready(y_ready)
);
wire unused = ^s_tuser;
endmodule
`default_nettype wire
"""


@dataclass(frozen=True, eq=False)
class BedRun:
    """Results, zero behind a sequence's end, and the clock of every row."""

    outputs: Codes
    clocks: Codes


class AttentionBed:
    """The RTL of one streaming attention."""

    def __init__(
        self,
        node: HwNode,
        graph: Graph,
        hold: int = 0,
        stall: bool = False,
        dsp: bool = True,
        sources: dict[str, str] | None = None,
    ) -> None:
        self.node, self.kernel = node, rtl_kernel(node, graph, dsp)
        self.channels = node.ints["heads"] * node.ints["head_dim"]
        self.widths = [node.ints[f"{n}_width"] for n in "qkv"]
        self.unit = bed_unit(node, self.kernel, hold, stall)
        self._sim = RtlSim(self.unit, sources)

    def run(
        self, q: Codes, k: Codes, v: Codes, lengths: Codes | None = None, stalls: tuple[int, int] = (0, 0)
    ) -> BedRun:
        """All sequences behind each other."""
        batch, rows, channels = q.shape
        tokens = np.full(batch, rows) if lengths is None else np.asarray(lengths)
        words = np.zeros(q.shape, dtype=np.int64)
        for place, (codes, width) in enumerate(zip((q, k, v), self.widths, strict=True)):
            words |= (codes & ((1 << width) - 1)) << sum(self.widths[:place])
        run = self._sim.run(
            words.reshape(batch, -1),
            lengths=tokens * channels,
            out_lengths=tokens * (channels + 1),
            stalls=stalls,
            patience=200_000,
        )
        found = np.zeros((batch, rows * (channels + 1)), dtype=np.int64)
        found[:, : run.outputs.shape[1]] = run.outputs
        found = found.reshape(batch, rows, channels + 1)
        return BedRun(found[..., :-1], found[..., -1])


def bed_unit(node: HwNode, kernel: RtlKernel, hold: int, stall: bool) -> RtlUnit:
    """The bed as a unit."""
    q, k, v = (node.ints[f"{n}_width"] for n in "qkv")
    names = {**kernel.parameters, **kernel.roms}
    integers = "".join(f"\n    parameter int {n} = {value}," for n, value in kernel.parameters.items())
    integers += "".join(f'\n    parameter {n} = "",' for n in kernel.roms)
    text = _BED.format(
        parameters=integers,
        settings=", ".join(f".{n}({n})" for n in names),
        channels=node.ints["heads"] * node.ints["head_dim"],
        q=q,
        k=k,
        v=v,
        y=node.format.width,
        sign=f"element[{node.format.width - 1}]" if node.format.signed else "1'b0",
        in_top=q + k + v - 1,
        out_top=_CLOCK_W - 1,
    )
    return RtlUnit(
        "attention_bed",
        kernel.files,
        {**kernel.parameters, "HOLD": hold, "STALL": int(stall), "DEPTH": 4096},
        kernel.roms,
        in_width=q + k + v,
        out_width=_CLOCK_W,
        user_width=2,
        in_signed=False,
        out_signed=True,
        row_max=node.ints["rows"],
        texts={"attention_bed.sv": text},
    )
