# SPDX-License-Identifier: Apache-2.0
"""A whole model as one streaming unit: a module for each node, a FIFO for each stream, words of 32 bits at both ends.

s_tdata --> net_unpack --> FIFO --> kernel --> FIFO --> ... --> FIFO --> net_pack --> m_tdata
                |                                                          ^
                +--> ends: whether a sample's last word had TLAST -- FIFO -+

No path between the two ends is combinational: every FIFO's `s_tready` and `m_tvalid` are registers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.rtl.net.kernel import RtlKernel, rtl_kernel
from hls4attn.hls.rtl.net.streams import stream_depths, stream_widths
from hls4attn.hls.rtl.net.words import shorter
from hls4attn.hls.rtl.unit import Rom, RtlUnit, rtl_dir
from hls4attn.hls.stream.packets import flag_depth
from hls4attn.hls.stream.ports import PortRows, port_rows
from hls4attn.models.errors import InputError, SpecError
from hls4attn.models.export.graph import Graph

_FILES = ("net/net_fifo.sv", "net/net_unpack.sv", "net/net_pack.sv")

#: Ports of every top module, as those of the operators' units.
_PORTS = (
    "input wire clk",
    "input wire rst_n",
    "input wire [31:0] s_tdata",
    "input wire [0:0] s_tuser",
    "input wire s_tvalid",
    "input wire s_tlast",
    "output wire s_tready",
    "output wire [31:0] m_tdata",
    "output wire m_tvalid",
    "output wire m_tlast",
    "input wire m_tready",
)


def network_unit(design: Design, graph: Graph, dsp: Collection[str] | None = None) -> RtlUnit:
    """The RTL of a model.

    Args:
        design: its io_stream design.
        graph: the typed graph that it was lowered from: it has the operators' specs.
        dsp: names of the nodes whose products may take DSP blocks; all of them if not given.

    Returns:
        A unit between AXI4-Streams of 32 bits: samples in words (`words`), answers with TLAST where the packet had it.

    Raises:
        InputError: for a design that does not stream, or names in `dsp` that no node has.
        UnsupportedError: for a node, or a choice for one, without RTL.
    """
    if design.io_type != "io_stream":
        raise InputError(f"{design.name}: RTL is made of an io_stream design. Received: {design.io_type}")
    unknown = set(dsp or ()) - {n.name for n in design.nodes}
    if unknown:
        raise InputError(
            f"{design.name}: no node {', '.join(sorted(unknown))}; it has: {', '.join(n.name for n in design.nodes)}"
        )
    kernels = {n.name: rtl_kernel(n, graph, dsp is None or n.name in dsp) for n in design.nodes}
    top = _Top(design, kernels)
    text = top.text()
    files = dict.fromkeys((*_FILES, *(file for k in kernels.values() for file in k.files)))
    return RtlUnit(
        module=top.module,
        files=tuple(files),
        roms=top.roms,
        in_width=32,
        out_width=32,
        user_width=1,
        in_signed=False,
        row_max=max(port.words for port in port_rows(design)),
        texts={f"{top.module}.sv": text},
    )


@dataclass
class _Top:
    """Text of the module that connects all others.

    Args:
        design: the design.
        kernels: module of each node.
    """

    design: Design
    kernels: dict[str, RtlKernel]
    roms: dict[str, Rom] = field(default_factory=dict)

    def __post_init__(self) -> None:
        modules = {path.stem.removeprefix("net_") for path in (rtl_dir() / "net").glob("net_*.sv")}
        self.module = f"net_{_identifier(self.design.name, modules)}"  # not a kernel's, whatever the model's name
        self.widths, self.depths = stream_widths(self.design), stream_depths(self.design)
        self.names: dict[str, str] = {}
        for name in self.design.streams:
            self.names[name] = _identifier(name, self.names.values())

    def text(self) -> str:
        """The source; `roms` is filled on the way."""
        design = self.design
        into, out = port_rows(design)
        body = [*self._wires(), *self._unpack(into), *self._fifos()]
        for node in design.nodes:
            body += self._kernel(node, self.kernels[node.name])
        body += self._pack(out)
        tables = ",\n    ".join(f'parameter {name} = "{name}.mem"' for name in self.roms)
        return (
            "// SPDX-License-Identifier: Apache-2.0\n"
            f"// {design.name}: {len(design.nodes)} kernels and the FIFOs between them.\n`default_nettype none\n\n"
            f"module {self.module}"
            + (f" #(\n    {tables}\n)" if tables else "")
            + " (\n    "
            + ",\n    ".join(_PORTS)
            + "\n);\n\n"
            + "\n".join(body)
            + "\nwire unused = &{1'b0, s_tuser};\n\nendmodule\n\n`default_nettype wire\n"
        )

    def _wires(self) -> Iterator[str]:
        """Both ends of every stream's FIFO: `_i` goes in, `_o` comes out."""
        for name in self.design.streams:
            wire = self.names[name]
            for end in "io" if self.depths[name] else "o":
                yield f"wire [{self.widths[name] - 1}:0] {wire}_{end}_data;"
                yield f"wire {wire}_{end}_valid, {wire}_{end}_last, {wire}_{end}_ready;"

    def _written(self, name: str) -> str:
        """Wires that the writer of a stream drives."""
        return f"{self.names[name]}_{'i' if self.depths[name] else 'o'}"

    def _fifos(self) -> Iterator[str]:
        for name in self.design.streams:
            wire, numbers = self.names[name], {"WIDTH": self.widths[name] + 1, "DEPTH": self.depths[name]}
            if self.depths[name]:
                ports = {"s_tdata": f"{{{wire}_i_last, {wire}_i_data}}", "m_tdata": f"{{{wire}_o_last, {wire}_o_data}}"}
                ports |= {f"{s}_t{w}": f"{wire}_{e}_{w}" for s, e in ("si", "mo") for w in ("valid", "ready")}
                yield _instance("net_fifo", f"fifo_{wire}", numbers, ports)
        yield "wire end_i_data, end_i_valid, end_i_ready, end_o_data, end_o_valid, end_o_ready;"
        ends = {f"{s}_t{w}": f"end_{e}_{w}" for s, e in (("s", "i"), ("m", "o")) for w in ("data", "valid", "ready")}
        yield _instance("net_fifo", "fifo_end", {"WIDTH": 1, "DEPTH": flag_depth(self.design)}, ends)

    def _unpack(self, port: PortRows) -> Iterator[str]:
        wire = self._written(self.design.input.name)
        numbers = {"ROWS": port.rows, "CHANNELS": port.channels, "BITS": port.bits}
        numbers |= {"WIDTH": self.design.input.format.width, "ANY_LENGTH": int(shorter(self.design))}
        ports = {f"s_t{w}": f"s_t{w}" for w in ("data", "valid", "last", "ready")}
        ports |= {f"m_t{w}": f"{wire}_{w}" for w in ("data", "valid", "last", "ready")}
        ports |= {f"end_t{w}": f"end_i_{w}" for w in ("data", "valid", "ready")}
        yield _instance("net_unpack", "unpack", numbers, ports)

    def _pack(self, port: PortRows) -> Iterator[str]:
        wire, fmt = self.names[self.design.result], self.design.output_tensor.format
        numbers = {"CHANNELS": port.channels, "BITS": port.bits, "WIDTH": fmt.width, "IS_SIGNED": int(fmt.signed)}
        ports = {f"s_t{w}": f"{wire}_o_{w}" for w in ("data", "valid", "last", "ready")}
        ports |= {f"end_t{w}": f"end_o_{w}" for w in ("data", "valid", "ready")}
        ports |= {f"m_t{w}": f"m_t{w}" for w in ("data", "valid", "last", "ready")}
        yield _instance("net_pack", "pack", numbers, ports)

    def _kernel(self, node: HwNode, kernel: RtlKernel) -> Iterator[str]:
        """The instance of a node, its tables as parameters of the top module."""
        self._check(node, kernel)
        ports: dict[str, str] = {}
        for k, name in enumerate(node.inputs):
            wire = f"{self.names[name]}_o"
            ports |= {f"s{k}_t{w}": f"{wire}_{w}" for w in ("data", "valid", "last", "ready")}
        tables: dict[str, str] = {}
        for key, rom in kernel.roms.items():
            tables[key] = f"{node.name}_{key}".upper()
            self.roms[tables[key]] = rom
        wires = [self._written(name) for name in node.outputs]
        if node.copies:
            ports |= {f"m_t{w}": f"{node.name}_{w}" for w in ("data", "valid", "last", "ready")}
            yield f"wire [{kernel.output - 1}:0] {node.name}_data;"
            yield f"wire {node.name}_last;"
            yield f"wire [{kernel.copies - 1}:0] {node.name}_valid, {node.name}_ready;"
            for k, wire in enumerate(wires):
                yield f"assign {wire}_data = {node.name}_data;"
                yield f"assign {wire}_last = {node.name}_last;"
                yield f"assign {wire}_valid = {node.name}_valid[{k}];"
                yield f"assign {node.name}_ready[{k}] = {wire}_ready;"
        else:
            ports |= {f"m_t{w}": f"{wires[0]}_{w}" for w in ("data", "valid", "last", "ready")}
        yield _instance(kernel.module, f"node_{node.name}", {**kernel.parameters, **tables}, ports)

    def _check(self, node: HwNode, kernel: RtlKernel) -> None:
        wanted = [self.widths[name] for name in (*node.inputs, node.outputs[0])]
        if wanted != [*kernel.inputs, kernel.output] or kernel.copies != len(node.outputs):
            raise SpecError(
                f"{node.name}: {kernel.module} has rows of {[*kernel.inputs, kernel.output]} bits and {kernel.copies} "
                f"output(s), its streams {wanted} and {len(node.outputs)}"
            )


def _identifier(name: str, taken: Collection[str]) -> str:
    """A Verilog identifier, whatever the case of its letters unlike those that there are."""
    base = re.sub(r"\W", "_", name, flags=re.ASCII).lower()
    base = base if base[:1].isalpha() else f"n{base}"
    known, found, k = set(taken), base, 1
    while found in known:
        found, k = f"{base}_{k}", k + 1
    return found


def _instance(module: str, name: str, parameters: Mapping[str, int | str], ports: Mapping[str, str]) -> str:
    """Text of an instance; its clock and its reset are the top module's."""
    numbers = ", ".join(f".{key}({value})" for key, value in parameters.items())
    wires = ", ".join(f".{port}({wire})" for port, wire in {"clk": "clk", "rst_n": "rst_n", **ports}.items())
    return f"{module} #({numbers}) {name} (\n    {wires}\n);"
