# SPDX-License-Identifier: Apache-2.0
"""Handoffs against designs: what tools choose is accepted, and no damage does more than be refused."""

import random
from xml.etree import ElementTree as ET

import pytest
from handoff_edits import Edit, handoff, insert_fifo, module, parameter, port, rename, watch
from overlay_designs import cells, make

from hls4attn.models.errors import ModelFileError
from hls4attn.models.formats import Fixed
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.hwh_check import check_hwh
from hls4attn.overlays.ports import StreamPort

PLUS = "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"


@pytest.mark.parametrize("design", [make(), make(on="kv260"), cells(), cells(on="zcu104")], ids=lambda d: d.name)
def test_what_tools_choose_is_accepted(design: OverlayDesign) -> None:
    def revisions(root: ET.Element) -> None:
        for cell in root.iter("MODULE"):
            kind, _, version = cell.get("VLNV", "").rpartition(":")
            if not kind.startswith("hls4attn"):
                cell.set("VLNV", f"{kind}:{float(version) + 1}")

    def further(root: ET.Element) -> None:
        extra = ET.SubElement(next(root.iter("MODULES")), "MODULE", INSTANCE="smartconnect_0")
        extra.set("VLNV", "xilinx.com:ip:smartconnect:1.0")
        for text in root.iter("SYSTEMINFO"):
            text.attrib.pop("BOARD")

    def memory(root: ET.Element) -> None:
        for entry in root.iter("MEMRANGE"):
            if entry.get("MEMTYPE") == "MEMORY":
                entry.set("HIGHVALUE", "0xFFFFFFFF")

    edits: list[Edit] = [
        memory,
        revisions,
        further,
        insert_fifo("axi_dma_0", "M_AXIS_MM2S", design.ip, "in_r"),
        insert_fifo(design.ip, "kernel0_in", design.kernels[0].instance, "in_r"),
        watch(design.ip, "out_r"),
        rename("xlconcat_0", "concat"),
        rename("proc_sys_reset_0", "rst_ps_100M"),
        parameter("axi_gpio_0", "C_GPIO_WIDTH", "0x20"),
        parameter("axi_gpio_0", "C_DOUT_DEFAULT", "0x00000000"),
        port(design.kernels[0].instance, "ap_rst_n", POLARITY="ACTIVE_LOW"),
    ]
    check_hwh(handoff(design, *edits), design)


def test_rounding_of_the_crystal_is_no_other_clock() -> None:
    design = make(on="zcu104")
    check_hwh(handoff(design, parameter("zynq_ultra_ps_e_0", PLUS, "99.999985")), design)


def test_logic_without_described_registers_is_accepted() -> None:
    def edit(root: ET.Element) -> None:
        cell = module(root, "stream_model_0")
        cell.remove(next(cell.iter("ADDRESSBLOCKS")))

    check_hwh(handoff(make(), edit), make())


def test_inline_hdl_joins_interrupts_too() -> None:
    """What replaces the concat IP from Vivado 2024.2."""
    vlnv = "xilinx.com:inline_hdl:ilconcat:1.0"
    check_hwh(handoff(make(), lambda root: module(root, "xlconcat_0").set("VLNV", vlnv)), make())


def test_other_ports_are_another_design_only_in_the_manifest() -> None:
    """The handoff says nothing of what the words mean; the model id of the logic does."""
    check_hwh(handoff(make(input=StreamPort((9,), Fixed(8, 3)))), make())


def test_no_damage_does_more_than_be_refused() -> None:
    """Attributes lost or senseless, elements lost or twice: accepted where nothing depends on it, else one error."""
    design, rng, refused = make(), random.Random(0), 0
    for _ in range(200):
        root = handoff(design)
        for element in rng.sample([e for e in root.iter() if e.attrib], 3):
            name = rng.choice(sorted(element.attrib))
            if rng.random() < 0.3:
                del element.attrib[name]
            else:
                element.set(name, rng.choice(["", "-1", "0x", "1e9", "::", "\u00fc", "9" * 5000]))
        parent = rng.choice([e for e in root.iter() if len(e)])
        child = rng.choice(list(parent))
        parent.remove(child) if rng.random() < 0.5 else parent.append(child)
        try:
            check_hwh(root, design)
        except ModelFileError as error:
            refused += 1
            assert len(str(error)) < 1000
    assert refused > 50
