# SPDX-License-Identifier: Apache-2.0
"""Kernels between AXI4-Streams, on the words of their packets: the same codes as without the streams."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from axis_cases import SHAPES, mover, packets_of, random_samples
from hls_models import classifier, consmax

from hls4attn.hls import HlsConfig, convert
from hls4attn.hls.axis import kernel_source
from hls4attn.hls.axis_sim import AxisSim
from hls4attn.hls.csim import CSim
from hls4attn.hls.project import Project
from hls4attn.hls.stream.ports import code_bits
from hls4attn.models.errors import InputError, ModelFileError, SimulationError, ToolError, UnsupportedError
from hls4attn.models.export import random_codes
from hls4attn.models.files import atomic_write
from hls4attn.models.formats import Fixed
from hls4attn.overlays.packing import pack, unpack
from hls4attn.overlays.ports import StreamPort

# ---- adaptors --------------------------------------------------------------------------------------------------------


def moved(name: str, folder: Path) -> list[bytes]:
    """What comes out of a kernel that moves codes, less what should: nothing if all is well."""
    kernel, source, answer = mover(name, folder)
    codes = random_samples(source, 24, 1, answer.format)
    packets = packets_of(codes, source, 2)
    out = AxisSim(kernel).run(packets, 24, 24 * answer.sample_bytes // 4)
    edges = np.cumsum([len(p) // source.sample_bytes for p in packets])[:-1]
    expected = [pack(part, answer).tobytes() for part in np.split(codes, edges)]
    return out if out != expected else []


@pytest.mark.compile
@pytest.mark.parametrize("name", SHAPES)
def test_codes_cross_the_ports_in_every_layout(name: str, tmp_path: Path) -> None:
    assert moved(name, tmp_path) == []


@pytest.mark.compile
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("word.last = ends.read().last;", "word.last = !ends.read().last;"),
        ("flag.last = last;", "flag.last = 1;"),
        ("l < have ? held[l] : typename sizes::code(0)", "held[l]"),
        pytest.param("(sizes::aligned ? c : c - have)", "c", marks=pytest.mark.slow),
        ("return ap_uint<BITS>(raw(value));", "return ap_uint<BITS - 1>(raw(value));"),
        pytest.param("held[c] = held[c + sizes::lanes];", "held[c] = held[c];", marks=pytest.mark.slow),
        pytest.param("have > sizes::lanes ? have - sizes::lanes : 0", "0", marks=pytest.mark.slow),
        ("word.keep = -1;", "word.keep = 7;"),
    ],
)
def test_a_wrong_adaptor_is_found(old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = (Path(__file__).parents[2] / "hls/nnet/attn_axis.h").read_text()
    assert header.count(old) == 1

    def wrong() -> None:
        (tmp_path / "attn_axis.h").write_text(header.replace(old, new))

    monkeypatch.setattr("hls4attn.hls.axis.atomic_write", _then(wrong))
    try:
        found = moved("three of four", tmp_path)
    except SimulationError:
        return
    assert found != []


def _then(change: Callable[[], None]) -> Callable[[Path, bytes], None]:
    """Writing files, and a change of the adaptors when they have been written."""

    def write(path: Path, data: bytes) -> None:
        atomic_write(path, data)
        if path.name == "attn_axis.h":
            change()

    return write


@pytest.mark.compile
def test_padding_of_the_input_means_nothing(tmp_path: Path) -> None:
    kernel, source, answer = mover("three of four", tmp_path)
    assert source.pad_bytes == 1
    codes = random_samples(source, 5, 3, answer.format)
    packed = pack(codes, source)
    packed[:, -1] = 0xFF
    out = AxisSim(kernel).run([packed.tobytes()], 5, 5 * answer.sample_bytes // 4)
    assert out == [pack(codes, answer).tobytes()]


@pytest.mark.compile
def test_a_packet_that_ends_inside_a_sample_leaves_the_kernel_waiting(tmp_path: Path) -> None:
    kernel, source, answer = mover("ten", tmp_path)
    sim, packed = AxisSim(kernel), pack(random_samples(source, 3, 0), source)
    room = 3 * answer.sample_bytes // 4
    with pytest.raises(SimulationError, match="in_r: read while it is empty"):
        sim.run([packed.tobytes()[:-4]], 3, room)
    with pytest.raises(SimulationError, match="in_r: 15 words left over"):
        sim.run([packed.tobytes()], 2, room)
    with pytest.raises(SimulationError, match="out_r: more words than an answer has"):
        sim.run([packed.tobytes()], 3, room - 1)
    for wrong in (b"", b"abc"):
        with pytest.raises(InputError, match="whole words"):
            sim.run([wrong], 1, room)
    assert sim.run([packed.tobytes()], 3, room) == [pack(random_samples(source, 3, 0), answer).tobytes()]


# ---- projects --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """A classifier of 6 tokens with 12 classes, in the forms that a kernel can take."""
    folder, model = tmp_path_factory.mktemp("axis"), classifier(1, 6, 8, 12, consmax(2), 4)
    forms = {
        "stream": HlsConfig(io_type="io_stream", reuse_factor=2),
        "parallel": HlsConfig(reuse_factor=3, backend="Vivado", part="xczu3eg-sfvc784-2-e", clock_period_ns=4.5),
    }
    return {name: convert(model, folder / name, config) for name, config in forms.items()}


def ports(project: Project) -> tuple[StreamPort, StreamPort]:
    source, answer = (StreamPort(t.shape, t.format) for t in (project.interface.input, project.interface.output))
    return source, answer


@pytest.mark.compile
@pytest.mark.parametrize("form", ["stream", "parallel"])
def test_a_projects_kernel_gives_its_codes(form: str, projects: dict[str, Project], tmp_path: Path) -> None:
    project = projects[form]
    kernel = kernel_source(project, "classify", tmp_path / "first")
    moved_on = replace(kernel, folder=Path(shutil.move(kernel.folder, tmp_path / "second")))
    source, answer = ports(project)
    codes = random_codes(project.interface.input, 60, 7)
    out = AxisSim(moved_on).run(packets_of(codes, source, 8), 60, 60 * answer.sample_bytes // 4)
    expected = CSim(project).run(codes)
    assert len(np.unique(expected)) > 30
    found = np.concatenate([unpack(packet, answer) for packet in out])
    assert np.count_nonzero(found != expected) == 0
    assert [len(p) // answer.sample_bytes for p in out] == [
        len(p) // source.sample_bytes for p in packets_of(codes, source, 8)
    ]


@pytest.mark.parametrize("form", ["stream", "parallel"])
def test_a_kernels_folder_is_complete_and_names_nothing_else(
    form: str, projects: dict[str, Project], tmp_path: Path
) -> None:
    project = projects[form]
    kernel = kernel_source(project, "classify", tmp_path / "k")
    assert kernel_source(project, "classify", tmp_path / "k") == kernel
    on_disk = {p.relative_to(kernel.folder).as_posix() for p in kernel.folder.rglob("*") if p.is_file()}
    assert on_disk == {*kernel.files, *kernel.data}
    assert kernel.files == ("classify.cpp", f"firmware/{project.config.project_name}.cpp")
    assert kernel.vlnv == "hls4attn:hls:classify:1.0"
    assert (kernel.part, kernel.clock_period_ns, kernel.backend, kernel.user_bits) == (
        project.config.part,
        project.config.clock_period_ns,
        project.config.backend,
        0,
    )
    assert not any("ap_types" in name for name in on_disk)
    texts = "".join((kernel.folder / name).read_text() for name in on_disk)
    assert str(project.path) not in texts
    assert str(tmp_path) not in texts
    assert sum(name.endswith("attn_axis.h") for name in on_disk) == 1
    assert not any("gaincell" in name or "nnet_conv2d" in name for name in on_disk)  # of no layer of this model
    for name in on_disk - {*kernel.files, "attn_axis.h"}:
        assert (kernel.folder / name).read_bytes() == (project.path / name).read_bytes()
    own, taken = (root / kernel.files[1] for root in (project.path, kernel.folder))
    kept = [line for line in own.read_text().splitlines() if "#pragma HLS INTERFACE" not in line]
    assert taken.read_text().splitlines() == kept != own.read_text().splitlines()
    text = (kernel.folder / "classify.cpp").read_text()
    assert "INTERFACE ap_ctrl_none port=return" in text
    assert text.count("#pragma HLS DATAFLOW") == 1


@pytest.mark.parametrize("name", ["", "1st", "a b", "attn", "float", "x" * 65, "class"])
def test_a_name_that_cannot_be_is_refused(name: str, projects: dict[str, Project], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kernel.*(C identifier|choose another name)"):
        kernel_source(projects["stream"], name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_incomplete_project_is_refused(projects: dict[str, Project], tmp_path: Path) -> None:
    broken = replace(projects["stream"], path=Path(shutil.copytree(projects["stream"].path, tmp_path / "p")))
    header = broken.path / "firmware/attn.h"
    header.write_text(header.read_text().replace("void attn(", "void attn(int n, "))
    with pytest.raises(ModelFileError, match="one input and one output; convert the model again"):
        kernel_source(broken, "classify", tmp_path / "k")
    header.unlink()
    with pytest.raises(ModelFileError, match=r"Cannot read .*attn\.h.*convert the model again"):
        kernel_source(broken, "classify", tmp_path / "k")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match="Cannot write .*file"):
        kernel_source(projects["stream"], "classify", tmp_path / "file")


def test_codes_wider_than_a_word_are_refused() -> None:
    assert [code_bits(Fixed(n, 1), "x") for n in (2, 8, 9, 16, 17, 32)] == [8, 8, 16, 16, 32, 32]
    with pytest.raises(UnsupportedError, match="logits: .*up to 32 bits.*Requantise"):
        code_bits(Fixed(33, 1), "logits")


@pytest.mark.compile
def test_a_port_too_narrow_for_its_codes_does_not_compile(projects: dict[str, Project], tmp_path: Path) -> None:
    kernel = kernel_source(projects["stream"], "classify", tmp_path)
    text = (tmp_path / "classify.cpp").read_text()
    (tmp_path / "classify.cpp").write_text(re.sub(r"channels = \d+;", "channels = 5;", text))
    with pytest.raises(ToolError, match="the rows are not the ones of the port"):
        AxisSim(kernel)
