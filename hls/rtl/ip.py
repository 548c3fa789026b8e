# SPDX-License-Identifier: Apache-2.0
"""A streaming unit as the kernel of an overlay: an IP with the streams that kernels of high-level synthesis have.

The folder that `write_ip` leaves is a whole IP: Vivado can take it into its catalogue as it is, and the build packages
the same files once more with Vivado's own packager (``overlays/tcl/kernel.tcl``).  Ports::

    ap_clk, ap_rst_n (active low, synchronous)        in_r (slave) --> unit --> out_r (master)

Streams have words of 32 bits, TKEEP and TLAST.  TKEEP of `in_r` says nothing: every word is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hls4attn.hls.interfaces import CLOCK, RESET, STREAM_BITS, ShellStream, clock_text, stream_text
from hls4attn.hls.rtl.ipxact import Component, component_xml, gui_tcl
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.errors import SpecError
from hls4attn.models.files import atomic_write

VENDOR, LIBRARY, VERSION = "hls4attn", "hls", "1.0"
STREAMS = (ShellStream("in_r", "slave"), ShellStream("out_r", "master"))
#: Where sources and tables lie in the IP.
SOURCES = "src"
_BITS = STREAM_BITS["tdata"]


@dataclass(frozen=True)
class RtlSource:
    """Verilog of one kernel, ready to be packaged as an IP with the streams `in_r` and `out_r`.

    Args:
        name: of the IP and of its top module; its VLNV is ``hls4attn:hls:<name>:1.0``.
        folder: absolute; all other paths are relative to it.
        files: Verilog, the top module last.
        tables: files that it reads with ``$readmemh``, by their bare names.
        further: the IP's description and dialogue.
        part: the FPGA.
        title: one line in words for the catalogue.
        user_bits: width of TUSER of `in_r`; always 0.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    tables: tuple[str, ...]
    further: tuple[str, ...]
    part: str
    title: str
    user_bits: int = 0

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Bus interfaces of the IP."""
        return (CLOCK, RESET, *(stream.name for stream in STREAMS))

    @property
    def data(self) -> tuple[str, ...]:
        """Files besides the Verilog."""
        return (*self.tables, *self.further)

    @property
    def vlnv(self) -> str:
        """Vendor, library, name and version of the IP."""
        return f"{VENDOR}:{LIBRARY}:{self.name}:{VERSION}"


def write_ip(name: str, unit: RtlUnit, folder: Path | str, part: str, title: str = "") -> RtlSource:
    """Write a unit as an IP.

    Args:
        name: of the IP and of its top module.
        unit: words of 32 bits in and out.
        folder: where its files go; made if missing, files of the same names are replaced.
        part: the FPGA.
        title: one line in words for the catalogue.

    Raises:
        SpecError: for a unit with other words, or one that has a source of the top module's name.
        ModelFileError: if a file cannot be written.
    """
    folder = Path(folder).absolute()
    sources = unit.sources()
    if f"{name}.v" in sources or unit.module == name:
        raise SpecError(f"{unit.module}: the kernel needs another name than its parts. Received: {name}")
    top = kernel_verilog(name, unit)
    files = {f"{SOURCES}/{file}": text for file, text in {**sources, f"{name}.v": top}.items()}
    tables = {f"{SOURCES}/{file}": unit.roms[key].text() for key, file in rom_files(name, unit).items()}
    vlnv = f"{VENDOR}:{LIBRARY}:{name}:{VERSION}"
    title = title or f"{unit.module} of hls4attn"
    component = Component(vlnv, title, STREAMS, tuple(files), tuple(tables))
    for path, text in {**files, **tables, component.gui: gui_tcl()}.items():
        atomic_write(folder / path, text.encode())
    atomic_write(folder / "component.xml", component_xml(component))
    further = (component.gui, "component.xml")
    return RtlSource(name, folder, tuple(files), tuple(tables), further, part, title)


def rom_files(name: str, unit: RtlUnit) -> dict[str, str]:
    """Name of the file of each table, by parameter; two kernels of an overlay have no name in common."""
    return {key: f"{name}_{key.lower()}.mem" for key in unit.roms}


def kernel_verilog(name: str, unit: RtlUnit) -> str:
    """Verilog-2001 of the top module: the unit with all its constants behind the ports of a kernel.

    Raises:
        SpecError: for a unit whose words are not those of a kernel.
    """
    if (unit.in_width, unit.out_width) != (_BITS, _BITS):
        raise SpecError(
            f"{unit.module}: a kernel has words of {_BITS} bits. Received: {unit.in_width} in, {unit.out_width} out"
        )
    ports = [*clock_text([stream.name for stream in STREAMS]), *(t for stream in STREAMS for t in stream_text(stream))]
    settings = [f"    .{key}({value})" for key, value in unit.parameters.items()]
    settings += [f'    .{key}("{file}")' for key, file in rom_files(name, unit).items()]
    given = [" #(", ",\n".join(settings), ")"] if settings else [""]
    return "\n".join(
        [
            "// SPDX-License-Identifier: Apache-2.0",
            f"// {name}: {unit.module} as the kernel of an overlay.  Generated; do not edit.",
            "`default_nettype none",
            "",
            f"module {name} (",
            ",\n".join(ports),
            ");",
            "",
            "// What resets comes from afar and goes to every corner of the unit.",
            "reg reset_n;",
            "initial",
            "    reset_n = 1'b0;",
            f"always @(posedge {CLOCK})",
            f"    reset_n <= {RESET};",
            "",
            "wire unused = &{in_r_tkeep, 1'b0};",
            "assign out_r_tkeep = 4'hf;",
            "",
            f"{unit.module}{given[0]}",
            *given[1:],
            "unit (",
            ",\n".join(f"    .{port}({wire})" for port, wire in _connections(unit)),
            ");",
            "",
            "endmodule",
            "",
            "`default_nettype wire",
            "",
        ]
    )


def _connections(unit: RtlUnit) -> Iterator[tuple[str, str]]:
    yield "clk", CLOCK
    yield "rst_n", "reset_n"
    yield "s_tuser", f"{unit.user_width}'d0"
    for signal in ("tdata", "tlast", "tvalid", "tready"):
        yield f"s_{signal}", f"in_r_{signal}"
        yield f"m_{signal}", f"out_r_{signal}"
