# SPDX-License-Identifier: Apache-2.0
"""Handoffs against designs: every kind of difference is refused by name."""

from xml.etree import ElementTree as ET

import pytest
from handoff_edits import Edit, connect, disconnect, handoff, module, parameter, port, rename
from overlay_designs import BOARDS, cells, make

from hls4attn.models.errors import ModelFileError
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.hwh_check import check_hwh

PLUS = "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"


def refused(match: str, *edits: Edit, on: OverlayDesign | None = None) -> None:
    design = on or make()
    check_hwh(handoff(design), design)  # without the edit it passes
    with pytest.raises(ModelFileError, match=match):
        check_hwh(handoff(design, *edits), design, "nn.hwh")


@pytest.mark.parametrize("name", BOARDS)
def test_a_design_has_its_own_handoff_and_no_other(name: str) -> None:
    design = make(on=name)
    check_hwh(handoff(design), design)
    for other in set(BOARDS) - {name, "pynq-z1", "pynq-z2"}:
        with pytest.raises(ModelFileError, match="has '"):
            check_hwh(handoff(make(on=other)), design)


def test_the_file_and_the_remedy_are_named() -> None:
    refused(r"^nn.hwh: not the block design of overlay 'nn': .*Build the overlay again", rename("axi_gpio_0", "x"))


@pytest.mark.parametrize(
    "instance",
    ["stream_model_0", "axi_dma_0", "axi_gpio_0", "axi_intc_0", "nn_kernel_0", "processing_system7_0"],
)
def test_every_cell_must_be_there(instance: str) -> None:
    refused(f"it has no {instance}. Found: .*renamed", rename(instance, "renamed"))


@pytest.mark.parametrize(
    ("instance", "vlnv"),
    [
        ("stream_model_0", "acme:hls:other:1.0"),
        ("stream_model_0", "hls4attn:hls:stream_model:2.0"),
        ("nn_kernel_0", "hls4attn:hls:mm_kernel:1.0"),
        ("axi_dma_0", "xilinx.com:ip:axi_mcdma:1.1"),
        ("axi_gpio_0", "xilinx.com:ip:gpio:2.0"),
        ("axi_intc_0", "xilinx.com:ip:axi_timer:4.1"),
        ("processing_system7_0", "xilinx.com:ip:zynq_ultra_ps_e:3.5"),
    ],
)
def test_every_cell_must_be_of_its_type(instance: str, vlnv: str) -> None:
    refused(f"{instance} is a '{vlnv}', not a ", lambda root: module(root, instance).set("VLNV", vlnv))


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("DEVICE", "7z010", "DEVICE is '7z010', pynq-z2 .* has 'xc7z020'"),
        ("PACKAGE", "clg484", "PACKAGE is 'clg484'"),
        ("SPEEDGRADE", "-2", "SPEEDGRADE is '-2'"),
    ],
)
def test_the_part_must_be_the_board_s(key: str, value: str, match: str) -> None:
    refused(match, lambda root: next(root.iter("SYSTEMINFO")).set(key, value))


def test_a_handoff_without_part_is_refused() -> None:
    refused("no SYSTEMINFO", lambda root: root.remove(next(root.iter("SYSTEMINFO"))))


@pytest.mark.parametrize("instance", ["axi_dma_0", "stream_model_0", "axi_gpio_0", "axi_intc_0"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("BASEVALUE", "0x40500000"), ("HIGHVALUE", "0x4fffffff"), ("BASEVALUE", "zero"), ("SLAVEBUSINTERFACE", "S_AXI_2")],
)
def test_every_address_range_counts(instance: str, key: str, value: str) -> None:
    def edit(root: ET.Element) -> None:
        next(r for r in root.iter("MEMRANGE") if r.get("INSTANCE") == instance).set(key, value)

    refused(f"{instance} is at .*{value}.*, not at 0x", edit)


def test_a_cell_without_address_is_refused() -> None:
    def edit(root: ET.Element) -> None:
        memory_map = next(module(root, "processing_system7_0").iter("MEMORYMAP"))
        memory_map.remove(next(r for r in memory_map if r.get("INSTANCE") == "axi_intc_0"))

    refused("axi_intc_0 is at no address, not at 0x41800000..0x4180FFFF", edit)


@pytest.mark.parametrize("master", ["M_AXI_MM2S", "M_AXI_S2MM"])
def test_the_dma_must_reach_the_memory(master: str) -> None:
    def edit(root: ET.Element, to: str | None = "S_AXI_HP1") -> None:
        memory_map = next(module(root, "axi_dma_0").iter("MEMORYMAP"))
        entry = next(r for r in memory_map if r.get("MASTERBUSINTERFACE") == master)
        memory_map.remove(entry) if to is None else entry.set("SLAVEBUSINTERFACE", to)

    def less(root: ET.Element) -> None:
        entries = module(root, "axi_dma_0").iter("MEMRANGE")
        next(r for r in entries if r.get("MASTERBUSINTERFACE") == master).set("HIGHVALUE", "0x0FFFFFFF")

    refused(f"axi_dma_0.{master} reaches 0x0.*F of processing_system7_0.S_AXI_HP1, not .*S_AXI_HP0", edit)
    refused(f"axi_dma_0.{master} reaches 0x00000000..0x0FFFFFFF of .*, not 0x0..0x1FFFFFFF", less)
    refused(f"axi_dma_0.{master} reaches no memory", lambda root: edit(root, None))


@pytest.mark.parametrize(
    ("instance", "name", "value"),
    [
        ("axi_dma_0", "c_include_sg", "1"),
        ("axi_dma_0", "c_sg_length_width", "14"),
        ("axi_dma_0", "c_micro_dma", "1"),
        ("axi_dma_0", "c_include_mm2s", "0"),
        ("axi_dma_0", "c_include_s2mm", "0"),
        ("axi_dma_0", "c_include_mm2s_dre", "1"),
        ("axi_dma_0", "c_include_s2mm_dre", "1"),
        ("axi_dma_0", "c_m_axis_mm2s_tdata_width", "64"),
        ("axi_dma_0", "c_s_axis_s2mm_tdata_width", "8"),
        ("axi_dma_0", "c_m_axi_mm2s_data_width", "64"),
        ("axi_dma_0", "c_m_axi_s2mm_data_width", "wide"),
        ("axi_dma_0", "c_s2mm_burst_size", "256"),
        ("axi_dma_0", "c_addr_width", "40"),
        ("axi_gpio_0", "C_IS_DUAL", "0"),
        ("axi_gpio_0", "C_GPIO_WIDTH", "8"),
        ("axi_gpio_0", "C_ALL_INPUTS_2", "0"),
        ("axi_intc_0", "C_IRQ_CONNECTION", "0"),
        ("processing_system7_0", "C_S_AXI_HP0_DATA_WIDTH", "32"),
        ("processing_system7_0", "PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ", "142.857132"),
        ("processing_system7_0", "PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ", "fast"),
    ],
)
def test_every_parameter_counts(instance: str, name: str, value: str) -> None:
    refused(f"{instance} has {name}={value}, ", parameter(instance, name, value))
    refused(f"{instance} has .*{name}", parameter(instance, name, None))


def test_a_clock_of_an_ultrascale_is_compared_too() -> None:
    edit = parameter("zynq_ultra_ps_e_0", PLUS, "107.14")
    refused(f"{PLUS}=107.14, the PL clock is 99.999 MHz", edit, on=make(on="zcu104"))


@pytest.mark.parametrize(("name", "offset"), [("SAMPLES", "0x24"), ("CYCLES_HI", None)])
def test_another_register_map_is_refused(name: str, offset: str | None) -> None:
    def edit(root: ET.Element) -> None:
        registers = next(module(root, "stream_model_0").iter("REGISTERS"))
        register = next(r for r in registers if r.get("NAME") == name)
        if offset is None:
            registers.remove(register)
        else:
            next(p for p in register if p.get("NAME") == "ADDRESS_OFFSET").set("VALUE", offset)

    refused(f"register {name} of stream_model_0 is (absent|at 0x24), must be at 0x", edit)


@pytest.mark.parametrize(
    ("driver", "sink"),
    [
        ("axi_dma_0.M_AXIS_MM2S", "stream_model_0.in_r"),
        ("stream_model_0.out_r", "axi_dma_0.S_AXIS_S2MM"),
        ("stream_model_0.kernel0_in", "nn_kernel_0.in_r"),
        ("nn_kernel_0.out_r", "stream_model_0.kernel0_out"),
    ],
)
def test_every_stream_counts(driver: str, sink: str) -> None:
    cell, name = sink.split(".")
    refused(f"stream {driver} goes to nothing, not to {sink}", disconnect(cell, f"{name.lower()}_tvalid"))

    def backwards(root: ET.Element) -> None:
        next(b for b in module(root, cell).iter("BUSINTERFACE") if b.get("NAME") == name).set("TYPE", "INITIATOR")

    refused(f"{sink} is no AXI4-Stream input", backwards)
    for signal, bits in (("TDATA", 32), ("TKEEP", 4), ("TLAST", 1)):
        edit = port(cell, f"{name.lower()}_{signal.lower()}", LEFT="63", RIGHT="0")
        refused(f"{signal} of {sink} has 64 bits, not {bits}", edit)
    refused(f"TLAST of {sink} has 0 bits, not 1", port(cell, f"{name.lower()}_tlast", LEFT="9" * 5000))


def test_swapped_streams_are_refused() -> None:
    """Two kernels whose outputs were exchanged would answer for each other."""
    edits = [
        disconnect("stream_model_0", "in_r_tvalid"),
        connect("axi_dma_0", "m_axis_mm2s_tvalid", "nn_kernel_0", "in_r_tvalid"),
        disconnect("stream_model_0", "kernel0_in_tvalid"),
    ]
    refused("stream axi_dma_0.M_AXIS_MM2S goes to nn_kernel_0.in_r, not to stream_model_0.in_r", *edits)


def test_logic_for_more_kernels_is_refused() -> None:
    def edit(root: ET.Element) -> None:
        bus = {"NAME": "kernel1_in", "TYPE": "INITIATOR", "VLNV": "xilinx.com:interface:axis:1.0"}
        ET.SubElement(next(module(root, "stream_model_0").iter("BUSINTERFACES")), "BUSINTERFACE", bus)

    refused("stream_model_0 has further streams: stream_model_0.kernel1_in", edit)


def test_a_kernel_of_gain_cells_has_tuser() -> None:
    edit = port("gaincell_kernel_0", "in_r_tuser", LEFT="3")
    refused("TUSER of gaincell_kernel_0.in_r has 4 bits, not 8", edit, on=cells())


@pytest.mark.parametrize(
    ("instance", "name"),
    [
        ("stream_model_0", "ap_rst_n"),
        ("nn_kernel_0", "ap_rst_n"),
        ("stream_model_0", "ap_clk"),
        ("nn_kernel_0", "ap_clk"),
        ("axi_dma_0", "m_axi_s2mm_aclk"),
        ("axi_gpio_0", "s_axi_aclk"),
        ("axi_intc_0", "s_axi_aclk"),
        ("axi_dma_0", "axi_resetn"),
        ("axi_gpio_0", "s_axi_aresetn"),
        ("axi_intc_0", "s_axi_aresetn"),
        ("proc_sys_reset_0", "ext_reset_in"),
        ("proc_sys_reset_0", "slowest_sync_clk"),
        ("xlconcat_0", "In0"),
        ("xlconcat_0", "In1"),
        ("axi_intc_0", "intr"),
        ("processing_system7_0", "IRQ_F2P"),
        ("processing_system7_0", "S_AXI_HP0_ACLK"),
        ("axi_gpio_0", "gpio2_io_i"),
    ],
)
def test_every_clock_reset_and_interrupt_counts(instance: str, name: str) -> None:
    refused(f"{instance}.{name} is driven by nothing, not by", disconnect(instance, name))
    refused(f"{instance} has no port {name}|{instance}.{name} is driven by nothing", port(instance, name, NAME="gone"))


def test_the_reset_of_the_processing_system_is_no_reset_of_the_kernels() -> None:
    """A soft reset of the DMA would not clear them."""
    edits = [
        disconnect("nn_kernel_0", "ap_rst_n"),
        connect("proc_sys_reset_0", "peripheral_aresetn", "nn_kernel_0", "ap_rst_n"),
    ]
    refused("nn_kernel_0.ap_rst_n is driven by proc_sys_reset_0.peripheral_aresetn, not by axi_dma_0.mm2s", *edits)


def test_swapped_interrupts_are_refused() -> None:
    edits = [disconnect("xlconcat_0", "In0"), connect("axi_dma_0", "s2mm_introut", "xlconcat_0", "In0")]
    refused("xlconcat_0.In0 is driven by axi_dma_0.s2mm_introut, not by axi_dma_0.mm2s_introut", *edits)
    direct = [disconnect("axi_intc_0", "intr"), connect("axi_dma_0", "s2mm_introut", "axi_intc_0", "intr")]
    refused("axi_intc_0.intr is driven by axi_dma_0.s2mm_introut, not by a xilinx.com:ip:xlconcat", *direct)
    refused("axi_intc_0.intr has 1 bits, not 2", port("axi_intc_0", "intr", LEFT="0", RIGHT="0"))


def test_two_drivers_are_refused() -> None:
    edit = connect("axi_gpio_0", "gpio_io_o", "nn_kernel_0", "ap_rst_n")
    refused("nn_kernel_0.ap_rst_n is driven by axi_dma_0.mm2s.*, axi_gpio_0.gpio_io_o", edit)


def test_an_external_pin_is_a_driver() -> None:
    edits = [disconnect("nn_kernel_0", "ap_clk"), connect("External_Ports", "clk", "nn_kernel_0", "ap_clk")]
    refused("nn_kernel_0.ap_clk is driven by External_Ports.clk, not by processing_system7_0.FCLK_CLK0", *edits)
