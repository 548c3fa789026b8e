# SPDX-License-Identifier: Apache-2.0
"""Whole models through hls4ml: exact on both backends, atomic on disk, found again, and refused when they must be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hls_models import classifier, consmax

from hls4attn.hls import CSim, HlsConfig, convert, lower, open_project, operator_csim, project, register
from hls4attn.hls.compiler import compile_library
from hls4attn.models.errors import InputError, ModelFileError, ToolError, UnsupportedError
from hls4attn.models.export import Reference, random_codes, read_graph
from hls4attn.models.export.builder import save_model
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import SoftmaxSpec

SEED = 3


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return classifier(1, 8, 8, 16, consmax(2), SEED)


@pytest.mark.compile
@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
@pytest.mark.parametrize("score", ["consmax", "consmax_causal", "softmax"])
def test_a_whole_block_is_exact(tmp_path: Path, backend: str, score: str) -> None:
    spec = {
        "consmax": consmax(2),
        "consmax_causal": consmax(2, causal=True),
        "softmax": SoftmaxSpec(Fixed(8, 3), (0.35, 0.35)),
    }[score]
    proto = classifier(1, 8, 8, 16, spec, SEED)
    graph = read_graph(proto)
    sim = CSim(convert(proto, tmp_path / "p", HlsConfig(backend=backend, reuse_factor=3)))
    codes = random_codes(graph.input, 300, SEED)
    expected = Reference(graph).run(codes)
    assert len(np.unique(expected)) > 100
    assert np.count_nonzero(sim.run(codes) != expected) == 0


@pytest.mark.compile
def test_trace_gives_every_kernel_result(tmp_path: Path, model: onnx.ModelProto) -> None:
    graph = read_graph(model)
    sim = CSim(convert(model, tmp_path / "p"))
    codes = random_codes(graph.input, 40, SEED)
    expected, found = Reference(graph).trace(codes), sim.trace(codes)
    assert len(found) > len(sim.interface.taps)
    assert graph.output.name in found
    for name, value in found.items():
        assert value.shape == expected[name].shape
        assert np.count_nonzero(value != expected[name]) == 0, name


@pytest.mark.compile
def test_a_changed_weight_is_located(tmp_path: Path, model: onnx.ModelProto) -> None:
    graph = read_graph(model)
    made = convert(model, tmp_path / "p")
    parameters = made.path / "firmware" / "parameters.h"
    text = parameters.read_text()
    at = re.search(r"// block0_up\n.*?\{\n(-?\d+)", text, re.DOTALL)
    assert at is not None
    parameters.write_text(text[: at.start(1)] + str(int(at.group(1)) ^ 8) + text[at.end(1) :])
    codes = random_codes(graph.input, 100, SEED)
    found, expected = CSim(made).trace(codes), Reference(graph).trace(codes)
    wrong = [name for name, value in found.items() if np.any(value != expected[name])]
    assert wrong[0] == "block0_up_q"
    with pytest.raises(ModelFileError, match=r"edited by hand: firmware/parameters\.h; choose another --out"):
        convert(model, tmp_path / "p")
    parameters.unlink()
    assert convert(model, tmp_path / "p").cached is False  # what is missing is written anew
    assert np.array_equal(CSim(open_project(tmp_path / "p")).run(codes), expected[graph.output.name])


@pytest.mark.compile
def test_threads_give_the_same(tmp_path: Path, model: onnx.ModelProto) -> None:
    made = convert(model, tmp_path / "p")
    codes = random_codes(read_graph(model).input, 401, SEED)
    assert np.array_equal(CSim(made, threads=1).run(codes), CSim(made, threads=5).run(codes))


@pytest.mark.compile
def test_wrong_inputs_are_refused(tmp_path: Path, model: onnx.ModelProto) -> None:
    sim = CSim(convert(model, tmp_path / "p"))
    good = random_codes(read_graph(model).input, 2, SEED)
    for bad, text in (
        (good[:0], "batch >= 1"),
        (good[:, :5], "must have shape"),
        (good.astype(float), "integer codes"),
        (good + 1000, r"within \[0, 31\]"),
    ):
        with pytest.raises(InputError, match=text):
            sim.run(bad)


@pytest.mark.compile
@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
def test_hls4mls_own_compile_and_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    hls4ml = pytest.importorskip("hls4ml")
    monkeypatch.chdir(tmp_path)
    proto = classifier(1, 4, 4, 8, consmax(2), SEED)
    graph = read_graph(proto)
    register()
    register()  # again: no error, no change
    made = hls4ml.converters.convert_from_onnx_model(
        lower(proto), output_dir=str(tmp_path / "own"), backend=backend, io_type="io_parallel"
    )
    made.compile()
    codes = random_codes(graph.input, 50, SEED)
    real = made.predict(np.ascontiguousarray(graph.input.format.to_real(codes), dtype=np.float32))
    expected = graph.output.format.to_real(Reference(graph).run(codes))
    assert np.count_nonzero(real.reshape(expected.shape) != expected) == 0


def test_the_second_conversion_finds_the_first(tmp_path: Path, model: onnx.ModelProto) -> None:
    path = tmp_path / "model.onnx"
    save_model(model, path)
    first = convert(path, tmp_path / "p")
    before = {f: f.stat().st_mtime_ns for f in first.path.rglob("*") if f.is_file()}
    second = convert(path, tmp_path / "p")
    assert (first.cached, second.cached) == (False, True)
    assert second.digest == first.digest
    assert {f: f.stat().st_mtime_ns for f in first.path.rglob("*") if f.is_file()} == before
    assert convert(path, tmp_path / "p", HlsConfig(reuse_factor=2)).cached is False


def test_a_cache_hit_does_not_import_hls4ml(tmp_path: Path, model: onnx.ModelProto) -> None:
    save_model(model, tmp_path / "model.onnx")
    convert(tmp_path / "model.onnx", tmp_path / "p")
    code = (
        "import sys; from hls4attn.hls import convert; "
        f"p = convert({str(tmp_path / 'model.onnx')!r}, {str(tmp_path / 'p')!r}); "
        "assert p.cached; assert 'hls4ml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_project_files(tmp_path: Path, model: onnx.ModelProto, capfd: pytest.CaptureFixture[str]) -> None:
    made = convert(model, tmp_path / "p", HlsConfig(layer_reuse_factor={"block0_up": 4}, reuse_factor=2))
    assert capfd.readouterr().out == ""
    assert "Creating HLS model" in made.log.read_text()
    record = json.loads((made.path / "hls4attn.json").read_text())
    assert record["config"]["layer_reuse_factor"] == {"block0_up": 4}
    assert record["nodes"][0]["name"] == "embed"
    parameters = (made.path / "firmware" / "parameters.h").read_text()
    factors = re.findall(r"// (\w+)\n.*?reuse_factor = (\d+)", parameters, re.DOTALL)
    assert {int(f) for name, f in factors if name != "block0_up"} == {2}
    assert dict(factors)["block0_up"] == "4"
    assert "building" not in (made.path / "hls4ml_config.yml").read_text()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["p"]


def test_an_interrupted_conversion_leaves_the_old_project(
    tmp_path: Path, model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = convert(model, tmp_path / "p")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("write_hls4ml", "write_json", "_swap"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(project, step, interrupted)
            convert(model, tmp_path / "p", HlsConfig(reuse_factor=7))
        assert open_project(tmp_path / "p").digest == first.digest
        assert convert(model, tmp_path / "p").cached
        assert sorted(f.name for f in tmp_path.iterdir()) == ["p"]


def test_an_interruption_while_swapping_brings_the_old_project_back(
    tmp_path: Path, model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = convert(model, tmp_path / "p")
    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if ".building-" in self.name:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", interrupted)
        convert(model, tmp_path / "p", HlsConfig(reuse_factor=7))
    assert open_project(tmp_path / "p").digest == first.digest
    assert sorted(f.name for f in tmp_path.iterdir()) == ["p"]


def test_a_record_of_another_version_is_written_anew(tmp_path: Path, model: onnx.ModelProto) -> None:
    made = convert(model, tmp_path / "p")
    record = json.loads((made.path / "hls4attn.json").read_text())
    record["config"]["colour"] = "red"
    (made.path / "hls4attn.json").write_text(json.dumps(record))
    with pytest.raises(ModelFileError, match="No project of this version"):
        open_project(made.path)
    assert convert(model, tmp_path / "p").cached is False
    assert convert(model, tmp_path / "p").cached is True


def test_foreign_folders_are_not_replaced(tmp_path: Path, model: onnx.ModelProto) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(ModelFileError, match="not a project of this package"):
        convert(model, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match="not a project"):
        convert(model, tmp_path / "file")
    with pytest.raises(ModelFileError, match="No project of this version at"):
        open_project(tmp_path / "nothing")


@pytest.mark.parametrize(
    "record", ['{"digest": "x"}', "[]", '{"kind": "hls4attn-project", "schema": 2, "digest": "x"}']
)
def test_a_file_of_the_records_name_is_no_record(tmp_path: Path, model: onnx.ModelProto, record: str) -> None:
    (tmp_path / "hls4attn.json").write_text(record)
    (tmp_path / "chapter1.tex").write_text("years of work")
    with pytest.raises(ModelFileError, match="no complete hls4attn.json"):
        convert(model, tmp_path)
    assert (tmp_path / "chapter1.tex").read_text() == "years of work"


def test_work_in_a_project_is_not_replaced(tmp_path: Path, model: onnx.ModelProto) -> None:
    made = convert(model, tmp_path / "p")
    for name in ("overlay/pynq-z2/p.bit", "csim/bridge.log", "convert.log"):
        (made.path / name).parent.mkdir(parents=True, exist_ok=True)
        (made.path / name).write_text("written by a later step")
    assert convert(model, tmp_path / "p", HlsConfig(reuse_factor=2)).cached is False
    for name in ("a.rpt", "attn_prj/b.rpt", "firmware/c.txt", "project.tcl"):
        (made.path / name).parent.mkdir(exist_ok=True)
        (made.path / name).write_text("work")
    assert convert(model, tmp_path / "p", HlsConfig(reuse_factor=2)).cached
    with pytest.raises(ModelFileError, match=r"by hand: a\.rpt, attn_prj/b\.rpt, firmware/c\.txt and 1 more; choose"):
        convert(model, tmp_path / "p")
    assert (made.path / "attn_prj" / "b.rpt").read_text() == "work"


def test_projects_in_the_cache_are_always_replaced(
    tmp_path: Path, model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))
    (tmp_path / "projects" / "p").mkdir(parents=True)
    (tmp_path / "projects" / "p" / "hls4attn.json").write_text("{}")
    made = convert(model, tmp_path / "projects" / "p")
    (made.path / "firmware" / "parameters.h").write_text("")
    assert convert(model, made.path).cached is False
    assert convert(model, made.path).cached is True


def test_a_project_follows_from_what_reads_its_model(
    tmp_path: Path, model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("formats.py", "operators/softmax.py", "export/graph.py", "export/infer.py", "export/reader.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.setattr("hls4attn.models.errors.__file__", str(tmp_path / "errors.py"))
    digests = {project._digest(b"", HlsConfig())}
    for path in tmp_path.rglob("*.py"):
        path.write_text("changed")
        digests.add(project._digest(b"", HlsConfig()))
    assert len(digests) == 6


def test_folders_that_cannot_be_written_are_named(tmp_path: Path, model: onnx.ModelProto) -> None:
    (tmp_path / "file").write_text("")
    for folder in (
        tmp_path / "file" / "p",
        tmp_path / ("p" * 300),
        tmp_path / ("p" * 300) / "p",
        tmp_path / ("p" * 250),
    ):
        with pytest.raises(ModelFileError, match=r"^Cannot write .*: (Not a dir|File exists|File name too).*; choose"):
            convert(model, folder)


def test_missing_and_broken_models(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="Cannot read model"):
        convert(tmp_path / "missing.onnx", tmp_path / "p")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x01garbage")
    with pytest.raises(ModelFileError):
        convert(tmp_path / "broken.onnx", tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_unknown_layer_names_are_refused(tmp_path: Path, model: onnx.ModelProto) -> None:
    with pytest.raises(UnsupportedError, match=r"\['nonsense'\].*it has: embed, "):
        convert(model, tmp_path / "p", HlsConfig(layer_reuse_factor={"nonsense": 2}))


def test_a_missing_compiler_is_named(tmp_path: Path, model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    made = convert(model, tmp_path / "p")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ToolError, match=r"'g\+\+' is not on PATH.*apt install"):
        CSim(made)


@pytest.mark.compile
def test_a_failing_compilation_shows_its_first_error(tmp_path: Path) -> None:
    source = tmp_path / "broken.cpp"
    source.write_text("int a = b;\n")
    with pytest.raises(ToolError, match=r"error: .b. was not declared.*broken\.log"):
        compile_library(source, ())
    assert "g++" in (tmp_path / "broken.log").read_text()


@pytest.mark.compile
def test_the_compiler_may_have_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))
    (tmp_path / "wanted.cpp").write_text("#ifndef WANTED\n#error not given\n#endif\n")
    monkeypatch.setenv("CXX", "g++ -DWANTED='1 2'")
    assert compile_library(tmp_path / "wanted.cpp", ()).is_file()
    (tmp_path / "noise").write_text("no program")
    (tmp_path / "noise").chmod(0o755)
    for command, message in (
        ("g++-none -O2", "'g\\+\\+-none' is not on PATH"),
        ("g++ '", "CXX is no command"),
        (str(tmp_path / "noise"), "does not run: Exec format error"),
    ):
        monkeypatch.setenv("CXX", command)
        with pytest.raises(ToolError, match=message):
            compile_library(tmp_path / "wanted.cpp", ())


@pytest.mark.compile
def test_an_unwritable_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "occupied").write_text("")
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path / "occupied"))
    (tmp_path / "fine.cpp").write_text("int a;\n")
    with pytest.raises(ToolError, match="set HLS4ATTN_CACHE"):
        compile_library(tmp_path / "fine.cpp", ())


def test_other_versions_of_hls4ml_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.4.0")
    with pytest.raises(ToolError, match=r"hls4ml 1\.4\.0 is not supported.*hls4ml==1\.3\.0"):
        register()


@pytest.mark.compile
def test_operator_simulation() -> None:
    spec = consmax(2, causal=True)
    sim = operator_csim(spec, 6, 6)
    rng = np.random.default_rng(SEED)
    codes = rng.integers(-128, 127, (500, 2, 6, 6), endpoint=True)
    assert np.count_nonzero(sim.run(codes) != spec.reference(codes)) == 0
    with pytest.raises(InputError, match="within"):
        sim.run(codes * 2)
    with pytest.raises(InputError, match="one of: rows"):
        operator_csim(spec, 0, 4)
    with pytest.raises(UnsupportedError, match="causal"):
        operator_csim(spec, 3, 4)


def test_importing_the_package_is_light() -> None:
    code = "import sys, hls4attn.hls as h; h.include_dir(); assert not {'hls4ml', 'onnx', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
