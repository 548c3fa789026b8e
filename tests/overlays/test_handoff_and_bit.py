# SPDX-License-Identifier: Apache-2.0
"""Hardware handoffs and bit files: as PYNQ reads them, and every refusal."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from overlay_designs import BOARDS, MODEL_ID, Bank, cells, make, sha256

from hls4attn.models.errors import ModelFileError
from hls4attn.overlays import bitfile, hwh
from hls4attn.overlays.boards import board
from hls4attn.overlays.design import DmaSpec, OverlayDesign
from hls4attn.overlays.hwh_check import check_hwh

# --- handoff -----------------------------------------------------------------------------------------------


def as_pynq_reads(design: OverlayDesign, folder: Path) -> tuple[Any, Any]:
    """What PYNQ's drivers see, and the cells and streams below that."""
    from pynqmetadata.frontends import Metadata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:  # moved in 4.0
            from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser
        except ImportError:
            from pynqmetadata.views.runtime import RuntimeMetadataParser
    path = folder / "nn.hwh"
    path.write_bytes(hwh.build_hwh(design))
    metadata = Metadata(input=str(path))
    return RuntimeMetadataParser(metadata), metadata


@pytest.mark.parametrize("name", BOARDS)
def test_handoff_as_pynq_reads_it(tmp_path: Path, name: str) -> None:
    design = make(on=name, ip="model", dma=DmaSpec("dma", 20))
    parser, _ = as_pynq_reads(design, tmp_path)
    ip, dma = parser.ip_dict["model"], parser.ip_dict["dma"]
    assert (ip["type"], ip["phys_addr"], ip["addr_range"]) == (
        "hls4attn:hls:stream_model:1.0",
        design.addresses.ip,
        0x10000,
    )
    assert {name: cell["phys_addr"] for name, cell in parser.ip_dict.items() if "phys_addr" in cell} == {
        "dma": design.addresses.dma,
        "model": design.addresses.ip,
        "axi_gpio_0": design.addresses.gpio,
        "axi_intc_0": design.addresses.intc,
    }
    assert (dma["type"], dma["phys_addr"]) == ("xilinx.com:ip:axi_dma:7.1", design.addresses.dma)
    assert dma["parameters"]["c_sg_length_width"] == "20"
    assert {k: v["address_offset"] for k, v in ip["registers"].items()} == {
        "CTRL": 0x00,
        "MODEL_ID_LO": 0x10,
        "MODEL_ID_HI": 0x18,
        "SAMPLES": 0x20,
        "CYCLES_LO": 0x28,
        "CYCLES_HI": 0x30,
    }
    assert ip["registers"]["CTRL"]["fields"]["AUTO_RESTART"]["bit_offset"] == 7
    assert dma["registers"]["S2MM_LENGTH"]["address_offset"] == 0x58
    (name, controller), *further = parser.interrupt_controllers.items()
    assert (name, further) == ("axi_intc_0", [])
    controller = {k: controller[k] for k in ("parent", "index", "raw_irq")}  # 3.1 also repeats the name
    assert controller == {"parent": "", "index": 0, "raw_irq": 61 if design.board.family == "zynq" else 121}
    for index, pin in enumerate(("mm2s_introut", "s2mm_introut")):
        expected = {"controller": "axi_intc_0", "index": index, "fullpath": f"dma/{pin}"}
        assert parser.interrupt_pins[f"dma/{pin}"] == dma["interrupts"][pin] == expected
    assert parser.ip_dict["axi_gpio_0"]["parameters"]["C_IS_DUAL"] == "1"
    clocks = parser.clock_dict
    assert (clocks[0]["divisor0"], clocks[0]["divisor1"]) == (design.clock.div0, design.clock.div1)
    assert [bool(clocks[i]["enable"]) for i in range(4)] == [True, False, False, False]


@pytest.mark.parametrize("design", [make(of=Bank), cells()], ids=["bank", "cells"])
def test_kernels_are_cells_without_registers(tmp_path: Path, design: OverlayDesign) -> None:
    parser, metadata = as_pynq_reads(design, tmp_path)
    for number, kernel in enumerate(design.kernels):
        assert kernel.instance not in parser.ip_dict
        streams = metadata.blocks[kernel.instance].ports
        assert {name: str(streams[name].vlnv.name) for name in ("in_r", "out_r")} == {"in_r": "axis", "out_r": "axis"}
        assert ("TUSER" in streams["in_r"].signals) == (kernel.user_bits > 0)
        assert f"kernel{number}_in" in metadata.blocks[design.ip].ports
    assert set(parser.interrupt_pins) >= {"axi_dma_0/mm2s_introut", "axi_dma_0/s2mm_introut"}
    root = hwh.parse_hwh(hwh.build_hwh(design))
    check_hwh(root, design)
    with pytest.raises(ModelFileError, match="it has no nn_kernel_0|gaincell_0 is a"):
        check_hwh(root, make(ip=design.ip))


def test_handoff_is_deterministic() -> None:
    assert hwh.build_hwh(make()) == hwh.build_hwh(make())
    assert hwh.build_hwh(make()) != hwh.build_hwh(make(clock_mhz=50.0))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not valid XML"),
        (hwh.build_hwh(make())[:-200], "not valid XML"),
        (b"<html/>", "not a hardware handoff"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><EDKSYSTEM><MODULES/></EDKSYSTEM>', "document type"),
        (b'<?xml version="1.0" encoding="no-such"?><EDKSYSTEM/>', "not valid XML"),
    ],
)
def test_damaged_handoffs_are_refused(data: bytes, match: str) -> None:
    with pytest.raises(ModelFileError, match=match):
        hwh.parse_hwh(data)


# --- bit files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOARDS)
def test_bit_header_as_pynq_reads_it(name: str) -> None:
    from pynq.pl_server.embedded_device import parse_bit_header

    design = make(on=name)
    data = bitfile.build_bit(design, sha256(b"handoff"))
    theirs, ours = parse_bit_header(data), bitfile.parse_bit(data)
    assert (theirs["design"], theirs["part"]) == (ours.design, ours.part)
    assert bitfile.same_part(ours.part, design.board)
    assert ours.emulation
    assert (ours.hwh_digest, ours.model_id) == (sha256(b"handoff"), MODEL_ID)
    assert bitfile.MARK.encode() in data
    assert bitfile.SYNC_WORD not in theirs["data"]  # without it, a device ignores every byte
    assert len(theirs["data"]) % 4 == 0


def test_every_truncation_of_a_bit_file_is_refused() -> None:
    data = bitfile.build_bit(make(), sha256(b""))
    for length in range(len(data)):
        with pytest.raises(ModelFileError):
            bitfile.parse_bit(data[:length])
    with pytest.raises(ModelFileError, match="announced"):
        bitfile.parse_bit(data + b"x")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (bytes.fromhex("0ff00ff0"), bytes(4), "magic"),
        (b"b\x00\x0c7z020", b"z\x00\x0c7z020", "unknown header field 0x7a"),
        (b"nn_wrapper", b"\xffn_wrapper", "not ASCII"),
        (b"hls4attn-identity", b"hls4attn-whatever", "identity is missing"),
        (b"\xff\xff\xff\xff", bitfile.SYNC_WORD, "synchronisation word"),
    ],
)
def test_tampered_bit_files_are_refused(old: bytes, new: bytes, match: str) -> None:
    data = bitfile.build_bit(make(), sha256(b""))
    assert old in data
    with pytest.raises(ModelFileError, match=match):
        bitfile.parse_bit(data.replace(old, new, 1))


@pytest.mark.parametrize(
    ("header", "name", "same"),
    [
        ("7z020clg400", "pynq-z2", True),
        ("7z020", "pynq-z2", True),
        ("7z020clg484", "pynq-z2", False),
        ("7z010clg400", "pynq-z2", False),
        ("7z02", "pynq-z2", False),
        ("xczu3eg-sfvc784-2-e", "aup-zu3", True),
        ("xczu3eg", "aup-zu3", True),
        ("xczu7ev-ffvc1156-2-e", "aup-zu3", False),
        ("xck26-sfvc784-2LV-c", "kv260", True),
        ("", "kv260", False),
    ],
)
def test_part_of_a_header(header: str, name: str, same: bool) -> None:
    assert bitfile.same_part(header, board(name)) is same
