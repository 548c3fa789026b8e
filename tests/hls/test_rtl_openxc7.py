# SPDX-License-Identifier: Apache-2.0
"""nextpnr-xilinx, played by a script that answers in its form: command line, seeds, figures, and what is refused."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hls4attn.hls.rtl.openxc7 import CHIPDB, NEXTPNR, OpenXc7, between, find_openxc7, routed
from hls4attn.hls.rtl.unit import rtl_unit
from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSpec

UNIT = rtl_unit(ConSmaxSpec(Fixed(8, 4), (1.5,), (100.0,), (1.0,), (11,)))
#: As its log has them: cells after packing, and frequencies before and after routing.
LOG = """\
Info: Device utilisation:
Info:             SLICE_LUTX:    91/106400     0%
Info:              SLICE_FFX:    60/106400     0%
Info:        DSP48E1_DSP48E1:     3/  220     1%
Info:      RAMB18E1_RAMB18E1:     2/  280     0%
Info:      RAMB36E1_RAMB36E1:     4/  140     2%
Info: Max frequency for clock 'clk': 999.00 MHz (PASS at 150.00 MHz)
Info: Routing complete.
Info: Max frequency for clock 'clk': 2$seed.50 MHz (PASS at 150.00 MHz)
"""
TOOL = f"""#!/bin/sh
if [ "$1" = --version ]; then echo '"nextpnr-xilinx" -- Next Generation Place and Route (Version 0.8.2)' >&2; exit; fi
echo "$@" >> "$(dirname "$0")/calls"
while [ $# -gt 0 ]; do
    case "$1" in --seed) seed=$2 ;; --json | --xdc | --chipdb) [ -s "$2" ] || exit 7 ;; esac
    case "$1" in --json) grep -q FDRE "$2" || exit 8 ;; --xdc) cp "$2" "$(dirname "$0")/pads.xdc" ;; esac
    shift
done
cat >&2 <<END
{LOG}END
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], OpenXc7 | None]:
    """Puts a tool and a chip database where they are looked for."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "xc7z020.bin").write_bytes(b"database")
    tool = tmp_path / "bin" / "nextpnr-xilinx"
    monkeypatch.setenv(NEXTPNR, str(tool))
    monkeypatch.setenv(CHIPDB, str(tmp_path / "xc7z020.bin"))

    def put(text: str) -> OpenXc7 | None:
        tool.write_text(text)
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        return find_openxc7()

    return put


def test_figures_of_every_seed(
    install: Callable[[str], OpenXc7], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path / "cache"))
    tool = install(TOOL)
    assert tool.version == "nextpnr-xilinx 0.8.2"
    found = routed(UNIT, tool)
    assert found.mhz == (21.5, 22.5, 23.5)  # those after routing
    assert found.cells() == ["91", "60", "3", "10", "22"]
    assert routed(UNIT, tool) == found
    calls = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert len(calls) == 3  # the second time from the cache
    assert f"--chipdb {tmp_path / 'xc7z020.bin'} --xdc pads.xdc --json net.json --seed 1" in calls[0]
    pads = (tmp_path / "bin" / "pads.xdc").read_text()
    assert "set_property LOC H16 [get_ports clk]" in pads.splitlines()
    assert pads.count("IOSTANDARD") == 3


def test_a_tool_that_fails(install: Callable[[str], OpenXc7], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path / "cache"))
    cannot = TOOL.replace("cat >&2", 'echo "ERROR: no BELs remaining" >&2; exit 1; cat >&2')
    with pytest.raises(ToolError, match="ERROR: no BELs remaining"):
        routed(UNIT, install(cannot), (1,))
    with pytest.raises(ToolError, match=r"op_consmax: nextpnr-xilinx 0\.8\.2 reports no frequency"):
        routed(UNIT, install(TOOL.replace("Max frequency", "Frequency")), (1,))
    with pytest.raises(ToolError, match="does not say which version"):
        install("#!/bin/sh\necho hello\n")


def test_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHIPDB, raising=False)
    monkeypatch.setenv(NEXTPNR, str(tmp_path / "nextpnr-xilinx"))
    assert find_openxc7() is None
    with pytest.raises(InputError, match="No chip database"):
        find_openxc7(tmp_path / "xc7z020.bin")
    (tmp_path / "xc7z020.bin").write_bytes(b"database")
    with pytest.raises(ToolError, match="install openXC7"):
        find_openxc7(tmp_path / "xc7z020.bin")


BENCH = """
module bench;
reg clk = 0, in = 0;
wire out;
integer n;

pad_top top (.clk(clk), .in(in), .out(out));
initial begin
    for (n = 0; n < {clocks}; n = n + 1) begin
        in = {bits} >> n;
        #1 clk = 1;
        #1 clk = 0;
    end
    $write("%b ", top.back);
    for (n = 0; n < {outputs}; n = n + 1) begin
        $write("%b", out);
        in = 0;
        #1 clk = 1;
        #1 clk = 0;
    end
    $finish;
end
endmodule
"""
ECHO = """module unit_top (
    input wire clk,
    input wire rst_n,
    input wire [4:0] a,
    output wire [4:0] b,
    output wire [0:0] c
);
assign b = ~a;
assign c = rst_n;
endmodule
"""


@pytest.mark.parametrize(("rst_n", "value"), [(1, 0b10011), (0, 0)])
def test_every_port_is_reached_from_three_pads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rst_n: int, value: int
) -> None:
    """Bits that are shifted in come out again, with what the unit makes of them."""
    monkeypatch.setattr(type(UNIT), "top", lambda self, name: ECHO)
    # A one that takes the result when it is through, {rst_n, a} from its high end, and the clock in which it does.
    sent = [1, rst_n, *(value >> k & 1 for k in range(4, -1, -1)), 0]
    bits = sum(bit << k for k, bit in enumerate(sent))
    text = BENCH.format(clocks=len(sent), bits=f"32'd{bits}", outputs=6)
    (tmp_path / "all.v").write_text(between(UNIT) + ECHO + text)
    subprocess.run(["iverilog", "-g2012", "-o", "all", "all.v"], cwd=tmp_path, check=True)
    done = subprocess.run(["vvp", "-n", "all"], cwd=tmp_path, capture_output=True, text=True, check=True)
    taken, shifted = done.stdout.split()
    assert int(taken, 2) == (~value & 0b11111) << 1 | rst_n
    if not bits & ~1:  # else another one takes a result on its way out
        assert shifted == taken[::-1]
