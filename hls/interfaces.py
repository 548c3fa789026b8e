# SPDX-License-Identifier: Apache-2.0
"""Ports of a Verilog module with the attributes from which Vivado's packager makes bus interfaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

CLOCK, RESET = "ap_clk", "ap_rst_n"
#: Signals of every AXI4-Stream here, and their bits; one that is not named has one.
STREAM_SIGNALS = ("tdata", "tkeep", "tlast", "tvalid", "tready")
STREAM_BITS = {"tdata": 32, "tkeep": 4}


@dataclass(frozen=True)
class ShellStream:
    """An AXI4-Stream of 32-bit words with TKEEP and TLAST.

    Args:
        name: of the bus interface; its ports are ``<name>_tdata`` and so on.
        mode: side of the module.
        user_bits: width of TUSER; 0 if it has none.
    """

    name: str
    mode: Literal["slave", "master"]
    user_bits: int = 0


@dataclass(frozen=True)
class Port:
    """A port of a module that belongs to a bus interface.

    Args:
        name: of the port.
        direction: input or output.
        bits: its width.
        interface: bus interface that it belongs to.
        logical: name of the signal in that interface.
    """

    name: str
    direction: Literal["input", "output"]
    bits: int
    interface: str
    logical: str


def stream_ports(stream: ShellStream) -> tuple[Port, ...]:
    """The ports of an AXI4-Stream."""
    forward: tuple[Literal["input", "output"], Literal["input", "output"]]
    forward = ("input", "output") if stream.mode == "slave" else ("output", "input")
    widths = {**STREAM_BITS, "tuser": stream.user_bits}
    signals = (*STREAM_SIGNALS, *(("tuser",) if stream.user_bits else ()))
    return tuple(
        Port(f"{stream.name}_{s}", forward[s == "tready"], widths.get(s, 1), stream.name, s.upper()) for s in signals
    )


def clock_parameters(buses: Sequence[str]) -> dict[str, str]:
    """Parameters of the clock's interface: what runs with it."""
    # Vivado's packager infers neither a clock nor a reset from these names
    return {"ASSOCIATED_BUSIF": ":".join(buses), "ASSOCIATED_RESET": RESET}


def port_text(
    direction: str, bits: int, name: str, interface: str, parameters: str = "", protocol: str = "interface"
) -> str:
    """A port's declaration in Verilog-2001; `interface` names protocol, interface and signal."""
    attributes = f'    (* X_INTERFACE_INFO = "xilinx.com:{protocol}:{interface}" *)\n'
    if parameters:
        attributes += f'    (* X_INTERFACE_PARAMETER = "{parameters}" *)\n'
    width = f"[{bits - 1}:0] " if bits > 1 else ""
    return f"{attributes}    {direction} wire {width}{name}"


def clock_text(buses: Sequence[str]) -> Iterator[str]:
    """Declarations of the clock and of the reset, which is active low."""
    said = ", ".join(f"{name} {value}" for name, value in clock_parameters(buses).items())
    yield port_text("input", 1, CLOCK, f"clock:1.0 {CLOCK} CLK", said, "signal")
    yield port_text("input", 1, RESET, f"reset:1.0 {RESET} RST", "POLARITY ACTIVE_LOW", "signal")


def stream_text(stream: ShellStream) -> Iterator[str]:
    """Declarations of the ports of an AXI4-Stream."""
    for port in stream_ports(stream):
        yield port_text(port.direction, port.bits, port.name, f"axis:1.0 {port.interface} {port.logical}")
