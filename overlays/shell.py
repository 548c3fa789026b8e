# SPDX-License-Identifier: Apache-2.0
"""The shell of a design: its constants, its Verilog, and the values for `tcl/shell.tcl`."""

from __future__ import annotations

from hls4attn.hls.shell import CellConstants, Shell, shell_files, shell_ports, shell_verilog
from hls4attn.overlays.design import SEGMENT_BYTES, OverlayDesign
from hls4attn.overlays.gaincell import GainCellDesign
from hls4attn.overlays.ports import STREAM_BYTES
from hls4attn.overlays.registers import SELECT, Register
from hls4attn.overlays.tcl_text import Value


def design_shell(design: OverlayDesign) -> Shell:
    """The shell between the DMA and the kernels of a design."""
    low, high = design.model_id_words
    return Shell(
        name=design.ip_vlnv.split(":")[2],
        model_id=high << 32 | low,
        answer_words=tuple(kernel.output.sample_bytes // STREAM_BYTES for kernel in design.kernels),
        selectable=any(register.offset == SELECT and register.name == "SELECT" for register in design.ip_registers),
        cells=_cells(design) if isinstance(design, GainCellDesign) else None,
    )


def rtl_files(design: OverlayDesign) -> dict[str, str]:
    """Verilog of the shell by file name: the generated top and all below it; for the folder ``rtl``."""
    shell = design_shell(design)
    below = {path.name: path.read_text(encoding="utf-8") for path in shell_files(shell)}
    return {f"{shell.name}.v": shell_verilog(shell), **below}


def shell_values(design: OverlayDesign, rtl: tuple[str, ...]) -> dict[str, Value]:
    """The variables that `tcl/shell.tcl` reads; `rtl` are the paths of its Verilog."""
    shell = design_shell(design)
    ports = shell_ports(shell)
    streams = [stream.name for stream in ports.streams]
    return {
        "part": design.board.part,
        "ip_name": shell.name,
        "ip_title": "AXI streams between the DMA and the kernels of hls4attn",
        "ip_version": design.ip_vlnv.split(":")[3],
        "ip_folder": f"ip/{shell.name}",
        "rtl": rtl,
        "scratch": "vivado_shell",
        "interfaces": [ports.clock, ports.reset, ports.control, *streams],
        "control": ports.control,
        "control_range": SEGMENT_BYTES,
        "registers": [_register(register) for register in design.ip_registers],
    }


def _register(register: Register) -> list[Value]:
    fields = [(field.name, field.offset, field.width, field.access) for field in register.fields]
    return [register.name, f"0x{register.offset:X}", register.access, fields]


def _cells(design: GainCellDesign) -> CellConstants:
    return CellConstants(
        token_words=design.input.sample_bytes // STREAM_BYTES,
        layers=design.layers,
        window=design.spec.window,
        table_words=design.table.size,
        current_width=design.current_width,
    )
