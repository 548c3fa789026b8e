# SPDX-License-Identifier: Apache-2.0
"""The IP between the AXI DMA and the kernels: constant Verilog in `hls/rtl`, and a generated top with the constants.

All tops have the clock `ap_clk`, the reset `ap_rst_n`, the AXI4-Lite slave `s_axi_control`, and streams of 32 bits::

    in_r   (slave)  -> kernel<k>_in  (master)        kernel<k>_out (slave)  -> out_r  (master)

`overlays.registers` has the registers, and `host.emulated.kernel` and `host.emulated.cells` their behaviour.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hls4attn.hls.interfaces import CLOCK, RESET, STREAM_SIGNALS, ShellStream, clock_text, port_text, stream_text
from hls4attn.models.errors import SpecError

__all__ = ["CLOCK", "CONTROL", "RESET", "CellConstants", "Shell", "ShellPorts", "ShellStream", "shell_verilog"]

CONTROL = "s_axi_control"
#: Of the AXI4-Lite slave: its registers fill the whole segment of 64 KiB, so that none appears twice.
ADDRESS_BITS = 16
MAX_KERNELS = 64
MAX_LAYERS = 64
#: Of TUSER on the way to a gain-cell kernel: bits 1:0 say what a word is, bits 7:2 the layer.
CELL_USER_BITS = 8

_FOLDER = Path(__file__).parent / "rtl"
#: Its modules: those of every shell, and those that only one kind has.
_OF_ALL = ("attn_axilite", "attn_control", "attn_skid")
_OF_KERNELS = ("attn_shell",)
_OF_CELLS = ("attn_cells", "attn_commands", "attn_tokens")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_LITE = {
    "awaddr": ADDRESS_BITS,
    "awvalid": 1,
    "awready": -1,
    "wdata": 32,
    "wstrb": 4,
    "wvalid": 1,
    "wready": -1,
    "bresp": -2,
    "bvalid": -1,
    "bready": 1,
    "araddr": ADDRESS_BITS,
    "arvalid": 1,
    "arready": -1,
    "rdata": -32,
    "rresp": -2,
    "rvalid": -1,
    "rready": 1,
}  # bits; negative ones are outputs


@dataclass(frozen=True)
class CellConstants:
    """What the shell of gain cells must know.

    Args:
        token_words: stream words of a token.
        layers: windows, 1 to 64.
        window: slots of each.
        table_words: currents of a table.
        current_width: signed bits of a current, 2 to 32.

    Raises:
        SpecError: for values that cannot be built.
    """

    token_words: int
    layers: int
    window: int
    table_words: int
    current_width: int

    def __post_init__(self) -> None:
        _check("token_words", self.token_words, 1, 1 << 16)
        _check("layers", self.layers, 1, MAX_LAYERS)
        _check("window", self.window, 1, 1 << 24)
        _check("table_words", self.table_words, 1, 1 << 24)
        _check("current_width", self.current_width, 2, 32)


@dataclass(frozen=True)
class Shell:
    """The shell of one overlay.

    Args:
        name: of the top module and of the IP, a C identifier.
        model_id: 64 bits, as MODEL_ID_HI and MODEL_ID_LO show them.
        answer_words: stream words of an output sample, kernel by kernel.
        selectable: whether the register SELECT chooses the kernel.
        cells: of the gain cells, if the kernel is one.

    Raises:
        SpecError: for values that cannot be built.
    """

    name: str
    model_id: int
    answer_words: tuple[int, ...]
    selectable: bool = False
    cells: CellConstants | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SpecError(
                f"The shell's name must be a letter, then letters, digits or underscores. Received: {self.name!r:.80}"
            )
        _check("model_id", self.model_id, 0, (1 << 64) - 1)
        _check("The number of kernels", len(self.answer_words), 1, MAX_KERNELS)
        for words in self.answer_words:
            _check("answer_words", words, 1, 1 << 24)
        if not self.selectable and len(self.answer_words) > 1:
            raise SpecError(f"{len(self.answer_words)} kernels need the register SELECT. Received: selectable=False")
        if self.cells is not None and self.selectable:
            raise SpecError("A shell of gain cells has one kernel and no SELECT. Received: selectable=True")

    @property
    def user_bits(self) -> int:
        """Width of TUSER on the way to the kernels; 0 if there is none."""
        return CELL_USER_BITS if self.cells else 0


@dataclass(frozen=True)
class ShellPorts:
    """Bus interfaces of a top module.

    Args:
        streams: all AXI4-Streams, TDATA of 32 bits, TKEEP and TLAST.
        clock: port of the only clock.
        reset: port of the reset, active low, synchronous.
        control: the AXI4-Lite slave.
        address_bits: of the AXI4-Lite slave.
    """

    streams: tuple[ShellStream, ...]
    clock: str = CLOCK
    reset: str = RESET
    control: str = CONTROL
    address_bits: int = ADDRESS_BITS


def shell_files(shell: Shell) -> tuple[Path, ...]:
    """The Verilog below the top of a shell, as absolute paths; the top is one file more."""
    own = _OF_CELLS if shell.cells else _OF_KERNELS
    return tuple(_FOLDER / f"{name}.v" for name in sorted((*_OF_ALL, *own)))


def shell_ports(shell: Shell) -> ShellPorts:
    """Names of the bus interfaces of a shell's top."""
    return ShellPorts(tuple(_streams(shell)))


def shell_verilog(shell: Shell) -> str:
    """Verilog-2001 of the top module, `shell.name`; it needs the `shell_files`."""
    streams = tuple(_streams(shell))
    clock = clock_text([CONTROL, *(stream.name for stream in streams)])
    ports = [*clock, *_lite_ports(), *(line for stream in streams for line in stream_text(stream))]
    kind = "attn_cells" if shell.cells else "attn_shell"
    return "\n".join(
        [
            "// SPDX-License-Identifier: Apache-2.0",
            f"// {shell.name}: the IP between the AXI DMA and {_kernels(shell)}.  Generated; do not edit.",
            "`default_nettype none",
            "",
            f"module {shell.name} (",
            ",\n".join(ports),
            ");",
            "",
            *(f"assign {stream.name}_tkeep = 4'hf;" for stream in streams if stream.mode == "master"),
            *_fan_out(shell),
            _unused(shell),
            "",
            f"{kind} #(",
            ",\n".join(f"    .{name}({value})" for name, value in _parameters(shell).items()),
            ") shell (",
            ",\n".join(f"    .{port}({wire})" for port, wire in _connections(shell)),
            ");",
            "",
            "endmodule",
            "",
            "`default_nettype wire",
            "",
        ]
    )


def added_cycles(shell: Shell) -> int:
    """Clock cycles by which CYCLES of a packet exceed those of the kernels alone, if nobody stalls the streams.

    A register slice each way; gain cells get a token when it is whole.
    """
    return 2 if shell.cells is None else shell.cells.token_words + 3


def _check(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise SpecError(f"{what} must be from {low} to {high}. Received: {value}")


def _kernels(shell: Shell) -> str:
    count = len(shell.answer_words)
    return "a gain-cell kernel" if shell.cells else "1 kernel" if count == 1 else f"{count} kernels"


def _streams(shell: Shell) -> Iterator[ShellStream]:
    yield ShellStream("in_r", "slave")
    yield ShellStream("out_r", "master")
    for k in range(len(shell.answer_words)):
        yield ShellStream(f"kernel{k}_in", "master", shell.user_bits)
        yield ShellStream(f"kernel{k}_out", "slave")


def _lite_ports() -> Iterator[str]:
    # said once, with the first port: an aximm could as well be AXI4, which interconnects would send bursts to
    parameters = f"XIL_INTERFACENAME {CONTROL}, PROTOCOL AXI4LITE"
    for name, bits in _LITE.items():
        interface = f"aximm:1.0 {CONTROL} {name.upper()}"
        yield port_text("input" if bits > 0 else "output", abs(bits), f"{CONTROL}_{name}", interface, parameters)
        parameters = ""


def _fan_out(shell: Shell) -> Iterator[str]:
    """Data and TLAST are the same for all kernels; only TVALID says which one they are for."""
    yield "wire [31:0] word;"
    yield "wire word_last;"
    for k in range(len(shell.answer_words)):
        yield f"assign kernel{k}_in_tdata = word;"
        yield f"assign kernel{k}_in_tlast = word_last;"


def _unused(shell: Shell) -> str:
    """A sink for what comes in and says nothing, so that linters have nothing to say either."""
    signals = ("tkeep", "tlast") if shell.cells else ("tkeep",)
    kernels = range(len(shell.answer_words))
    return f"wire unused = &{{{', '.join(f'kernel{k}_out_{signal}' for k in kernels for signal in signals)}, 1'b0}};"


def _parameters(shell: Shell) -> dict[str, str]:
    found = {"MODEL_ID": f"64'h{shell.model_id:016x}"}
    if shell.cells is None:
        words = ", ".join(f"32'd{words}" for words in reversed(shell.answer_words))
        found |= {"KERNELS": str(len(shell.answer_words)), "SELECTABLE": str(int(shell.selectable))}
        return found | {"ANSWER_WORDS": f"{{{words}}}"}
    cells = shell.cells
    found |= {"TOKEN_WORDS": str(cells.token_words), "ANSWER_WORDS": str(shell.answer_words[0])}
    found |= {"LAYERS": str(cells.layers), "WINDOW": str(cells.window)}
    return found | {"TABLE_WORDS": str(cells.table_words), "CURRENT_WIDTH": str(cells.current_width)}


def _connections(shell: Shell) -> Iterator[tuple[str, str]]:
    yield CLOCK, CLOCK
    yield RESET, RESET
    for name in _LITE:
        yield f"{CONTROL}_{name}", f"{CONTROL}_{name}"
    for signal in STREAM_SIGNALS:
        yield f"in_r_{signal}", f"in_r_{signal}"
    for signal in ("tdata", "tlast", "tvalid", "tready"):
        yield f"out_r_{signal}", f"out_r_{signal}"
    yield "kernel_in_tdata", "word"
    yield "kernel_in_tlast", "word_last"
    if shell.cells:
        yield "kernel_in_tuser", "kernel0_in_tuser"
    kernels = range(len(shell.answer_words))
    signals = ["in_tvalid", "in_tready", "out_tdata", "out_tvalid", "out_tready"]
    for signal in signals if shell.cells else (*signals, "out_tlast"):
        yield f"kernel_{signal}", "{" + ", ".join(f"kernel{k}_{signal}" for k in reversed(kernels)) + "}"
