# SPDX-License-Identifier: Apache-2.0
"""The hardware handoff of an overlay: written for the emulated board, checked for a real one.

The emulated file uses the elements and attributes that Vivado writes for the same block design (processing
system, AXI DMA, model IP) and that PYNQ reads; interconnect cells, which neither reads, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree as ET

from hls4attn.models.errors import ModelFileError
from hls4attn.overlays.design import DMA_VLNV, SEGMENT_BYTES, OverlayDesign
from hls4attn.overlays.hwh_module import HwhModule
from hls4attn.overlays.ports import STREAM_BYTES
from hls4attn.overlays.registers import DMA_REGISTERS

MAX_BYTES = 32 << 20
STREAM_BITS = 8 * STREAM_BYTES
OFF_DIVISOR = 63  # of a PL clock that is switched off
RESET_SOURCE = "mm2s_prmry_reset_out_n"  # of the DMA; resets the model IP with it


def build_hwh(design: OverlayDesign) -> bytes:
    """The Vivado-shaped `.hwh` of a design; equal designs give equal bytes."""
    board = design.board
    root = ET.Element("EDKSYSTEM", EDWVERSION="1.2", TIMESTAMP="hls4attn emulation", VIVADOVERSION="none")
    ET.SubElement(
        root,
        "SYSTEMINFO",
        ARCH=board.family,
        BOARD=board.board_part,
        DEVICE=board.device,
        NAME=design.name,
        PACKAGE=board.package,
        SPEEDGRADE=board.speed,
    )
    ET.SubElement(root, "EXTERNALPORTS")
    ET.SubElement(root, "EXTERNALINTERFACES")
    modules = ET.SubElement(root, "MODULES")
    modules.extend(module.element() for module in (_dma(design), _ip(design), _ps(design)))
    ET.indent(root, " ")
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def parse_hwh(data: bytes, where: str = ".hwh") -> ET.Element:
    """The root element of an `.hwh`.

    Raises:
        ModelFileError: if it is too large, declares entities, is not XML or no `.hwh`.
    """
    if len(data) > MAX_BYTES:
        raise ModelFileError(f"{where}: {len(data)} bytes; at most {MAX_BYTES} are accepted")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ModelFileError(f"{where}: declares a document type or entities, which no .hwh does; refused")
    try:
        root = ET.fromstring(data)
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: unknown encoding
        raise ModelFileError(f"{where}: not valid XML (truncated?): {error}") from error
    if root.tag != "EDKSYSTEM" or root.find("MODULES") is None:
        raise ModelFileError(f"{where}: not a hardware handoff (root element {root.tag!r})")
    return root


def check_hwh(root: ET.Element, design: OverlayDesign, where: str = ".hwh") -> None:
    """Check that a parsed `.hwh`, Vivado's or ours, is one of this design.

    Raises:
        ModelFileError: naming the instance, type, address or DMA parameter that differs.
    """
    modules = {module.get("INSTANCE", ""): module for module in root.iter("MODULE")}
    ranges = {r.get("INSTANCE", ""): r.get("BASEVALUE", "") for r in root.iter("MEMRANGE")}
    for instance, vlnv, address in (
        (design.ip, design.ip_vlnv, design.addresses.ip),
        (design.dma.instance, DMA_VLNV, design.addresses.dma),
    ):
        if instance not in modules:
            raise ModelFileError(f"{where}: has no {instance}. Found: {', '.join(sorted(modules))}")
        found = modules[instance].get("VLNV", "")
        if found.rpartition(":")[0] != vlnv.rpartition(":")[0]:
            raise ModelFileError(f"{where}: {instance} is a {found!r}, not a {vlnv}")
        base = ranges.get(instance, "")
        if not base.lower().startswith("0x") or int(base, 16) != address:
            raise ModelFileError(f"{where}: {instance} is at {base or 'no address'}, not at 0x{address:08X}")
    parameters = {p.get("NAME"): p.get("VALUE") for p in modules[design.dma.instance].iter("PARAMETER")}
    wanted = {"c_include_sg": "0", "c_sg_length_width": str(design.dma.length_width)}
    for name, value in wanted.items():
        if parameters.get(name) != value:
            raise ModelFileError(f"{where}: {design.dma.instance} has {name}={parameters.get(name)}, not {value}")


def _streams(design: OverlayDesign) -> tuple[str, str]:
    """Bus names DMA -> IP and IP -> DMA; Vivado names a net after its driver."""
    return f"{design.dma.instance}_M_AXIS_MM2S", f"{design.ip}_out_r"


def _dma(design: OverlayDesign) -> HwhModule:
    dma, ip, amap = design.dma.instance, design.ip, design.addresses
    to_ip, from_ip = _streams(design)
    module = HwhModule(dma, DMA_VLNV)
    module.registers("S_AXI_LITE", DMA_REGISTERS)
    directions = ("mm2s", "s2mm")
    module.parameters(
        {
            "c_include_sg": 0,
            "c_sg_length_width": design.dma.length_width,
            "c_micro_dma": 0,
            "c_addr_width": amap.address_bits,
            "c_m_axis_mm2s_tdata_width": STREAM_BITS,
            "c_s_axis_s2mm_tdata_width": STREAM_BITS,
            **{f"c_include_{d}": 1 for d in directions},
            **{f"c_include_{d}_dre": 0 for d in directions},
            **{f"c_m_axi_{d}_data_width": STREAM_BITS for d in directions},
            **{f"c_{d}_burst_size": 16 for d in directions},
            **_address_parameters(amap.dma),
        }
    )
    module.lite_slave("S_AXI_LITE", "axi_periph_M00_AXI")
    module.stream("M_AXIS_MM2S", to_ip, True, (ip, "in_r"))
    module.stream("S_AXIS_S2MM", from_ip, False, (ip, "out_r"))
    module.clock("s_axi_lite_aclk", *_clock(design))
    module.port(RESET_SOURCE, "O", "rst", f"{dma}_{RESET_SOURCE}", [(ip, "ap_rst_n")])
    for channel in ("MM2S", "S2MM"):
        module.memory_master(f"M_AXI_{channel}", amap)
    return module


def _ip(design: OverlayDesign) -> HwhModule:
    dma = design.dma.instance
    to_ip, from_ip = _streams(design)
    module = HwhModule(design.ip, design.ip_vlnv)
    module.registers("s_axi_control", design.ip_registers)
    address_bits = max(register.offset for register in design.ip_registers).bit_length()
    module.parameters({"C_S_AXI_CONTROL_ADDR_WIDTH": address_bits, **_address_parameters(design.addresses.ip)})
    module.lite_slave("s_axi_control", "axi_periph_M01_AXI")
    module.stream("in_r", to_ip, False, (dma, "m_axis_mm2s"))
    module.stream("out_r", from_ip, True, (dma, "s_axis_s2mm"))
    module.clock("ap_clk", *_clock(design))
    module.port("ap_rst_n", "I", "rst", f"{dma}_{RESET_SOURCE}", [(dma, RESET_SOURCE)])
    return module


def _ps(design: OverlayDesign) -> HwhModule:
    amap = design.addresses
    module = HwhModule(amap.ps_instance, amap.ps_vlnv, programmable_logic=False)
    module.parameters(dict(_clock_parameters(design)))
    _, signal, _ = _clock(design)
    sinks = [(design.dma.instance, "s_axi_lite_aclk"), (design.ip, "ap_clk")]
    module.port(amap.clock_port, "O", "clk", signal, sinks)
    module.bus(amap.master, "MASTER", "aximm", f"{amap.ps_instance}_{amap.master}")
    module.bus(amap.memory, "SLAVE", "aximm", "axi_smc_M00_AXI")
    for instance, base, interface in (
        (design.dma.instance, amap.dma, "S_AXI_LITE"),
        (design.ip, amap.ip, "s_axi_control"),
    ):
        module.range(instance, base, SEGMENT_BYTES, master=amap.master, slave=interface)
    return module


def _clock(design: OverlayDesign) -> tuple[str, str, str]:
    amap = design.addresses
    return amap.ps_instance, f"{amap.ps_instance}_{amap.clock_port}", amap.clock_port


def _address_parameters(base: int) -> dict[str, object]:
    high = base + SEGMENT_BYTES - 1
    return {"EDK_IPTYPE": "PERIPHERAL", "C_BASEADDR": f"0x{base:08X}", "C_HIGHADDR": f"0x{high:08X}"}


def _clock_parameters(design: OverlayDesign) -> Iterable[tuple[str, object]]:
    """All four PL clocks: PYNQ reads the dividers even of those that are switched off."""
    clock = design.clock
    for i in range(4):
        on = i == 0
        div0, div1, mhz = (clock.div0, clock.div1, clock.mhz) if on else (OFF_DIVISOR, 1, 0)
        if design.board.family == "zynquplus":
            control = f"PSU__CRL_APB__PL{i}_REF_CTRL__"
            yield f"PSU__FPGA_PL{i}_ENABLE", int(on)
            yield control + "DIVISOR0", div0
            yield control + "DIVISOR1", div1
            yield control + "SRCSEL", "IOPLL"
            yield control + "ACT_FREQMHZ", mhz
        else:
            yield f"PCW_FPGA_FCLK{i}_ENABLE", int(on)
            yield f"PCW_FCLK{i}_PERIPHERAL_DIVISOR0", div0
            yield f"PCW_FCLK{i}_PERIPHERAL_DIVISOR1", div1
            yield f"PCW_FCLK{i}_PERIPHERAL_CLKSRC", "IO PLL"
            yield f"PCW_ACT_FPGA{i}_PERIPHERAL_FREQMHZ", mhz
