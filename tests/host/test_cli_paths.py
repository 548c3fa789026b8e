# SPDX-License-Identifier: Apache-2.0
"""What the verbs do with the files and names a user gives, without a process for each."""

import io
import json
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from rich.console import Console

from hls4attn.hls.config import HlsConfig
from hls4attn.host import cli, sole
from hls4attn.host.bench import throughput as bench
from hls4attn.host.cli.options import choices_given, parse_seeds
from hls4attn.host.connect import chosen_board
from hls4attn.host.flow import STAGES, Flow
from hls4attn.host.paths import check_archive, check_folder, check_output, read_npy
from hls4attn.host.stages import BoardStage
from hls4attn.host.verbs import models, run, verify
from hls4attn.models.errors import InputError, ModelFileError, ToolError, UnsupportedError
from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.export.reader import load_model
from hls4attn.models.zoo import zoo_model

MODEL = zoo_model("digits-vit").folder / "consmax.onnx"


def consoles():
    return Console(file=io.StringIO(), width=200), Console(file=io.StringIO(), width=200)


def test_outputs_are_checked_before_the_work(tmp_path):
    source = tmp_path / "a.npy"
    source.write_bytes(b"")
    (tmp_path / "link.npy").hardlink_to(source)
    for path, options, match in (
        (tmp_path, {}, "a folder"),
        (source / "below.json", {}, "Not a directory"),
        (Path("/proc/nowhere/x.json"), {}, "Cannot write /proc"),
        (tmp_path / ("x" * 300), {}, "File name too long"),
        (tmp_path / "x.pb", {"suffix": ".onnx"}, r"must end in \.onnx"),
        (tmp_path / "y" / ".." / "a.npy", {"inputs": [None, source]}, "choose another name"),
        (tmp_path / "link.npy", {"inputs": [source]}, "choose another name"),
    ):
        with pytest.raises(InputError, match=match):
            check_output(path, **options)
    check_output(None)
    check_output(tmp_path / "new" / "x.onnx", ".onnx", [source])
    for path in (source, source / "below", Path("/proc/nowhere")):
        with pytest.raises(InputError, match="Cannot write"):
            check_folder(path)
    check_folder(tmp_path)
    check_folder(tmp_path / "new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npy", "link.npy"]


def test_a_keras_model_is_only_replaced_by_its_own_successor(tmp_path):
    source, archive, target = tmp_path / "a.keras", tmp_path / "b.keras", tmp_path / "b.onnx"
    source.write_bytes(b"float")
    check_archive(archive, target, source)
    archive.write_bytes(b"mine")
    for content in (None, b"foreign", MODEL.read_bytes()):
        if content is not None:
            target.write_bytes(content)
        with pytest.raises(InputError, match=r"b\.keras exists and does not belong to .*b\.onnx"):
            check_archive(archive, target, source)
    model = onnx.load(MODEL)
    next(p for p in model.metadata_props if p.key == "hls4attn.weights").value = "b.keras"
    target.write_bytes(model.SerializeToString())
    check_archive(archive, target, source)
    with pytest.raises(InputError, match="over .*b.keras"):
        check_archive(archive, target, archive)


def test_verbs_refuse_outputs_first(tmp_path):
    absent = tmp_path / "absent.onnx"
    for call in (
        lambda out, err: models.export(out, err, absent, absent, "digits-vit", "consmax"),
        lambda out, err: models.export(out, err, tmp_path / "a.keras", tmp_path / "b.txt", "digits-vit", "consmax"),
        lambda out, err: run.run(out, err, MODEL, "pynq-z2", None, MODEL, None),
        lambda out, err: run.run(out, err, MODEL, "pynq-z2", None, tmp_path / "y", tmp_path / "y"),
        lambda out, err: verify.verify(out, err, MODEL, None, 9, 0, ["onnx"], "pynq-z2", MODEL),
        lambda out, err: models.convert(out, err, absent, MODEL, "pynq-z2", None),
        lambda out, err: models.train(out, err, "digits-vit", "consmax", [0], MODEL, 1, None),
        lambda out, err: sole.train(out, err, "digits-vit", [0], MODEL, 1, None),
        lambda out, err: sole.quantise(out, err, absent, tmp_path / "b.keras", "digits-vit", "softmax", "layernorm"),
        lambda out, err: bench.print_throughput(out, tmp_path),
    ):
        with pytest.raises(InputError, match="must end in|choose another name|folder"):
            call(*consoles())
    assert list(tmp_path.iterdir()) == []


def test_calibration_names_both_possibilities(tmp_path):
    for source in ("digits", str(tmp_path / "x.npz")):
        with pytest.raises(InputError, match=r"a \.npy file of inputs or the name of a zoo model.*known: digits-vit"):
            sole.quantise(*consoles(), tmp_path / "a.keras", tmp_path / "b.onnx", source, "softmax", "layernorm")


def test_what_is_no_npy_array_is_refused(tmp_path):
    np.savez(tmp_path / "archive.npy.npz", a=np.zeros(3))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04" + bytes(50))
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("archive.npy.npz", "objects.npy", "zip.npy", "empty.npy", "absent.npy"):
        with pytest.raises(InputError, match=r"is not a readable \.npy array"):
            read_npy(tmp_path / name)


def test_cores_without_affinity(monkeypatch):
    assert bench._cores() >= 1
    monkeypatch.delattr("os.sched_getaffinity")
    assert bench._cores() >= 1


def text_of(console):
    return console.file.getvalue()


def test_names_are_printed_as_they_are(tmp_path):
    out, err = consoles()
    model = tmp_path / "1 modèle [x].onnx"
    model.write_bytes(MODEL.read_bytes())
    verify.verify(out, err, model, None, 9, 0, ["onnx"], "pynq-z2", tmp_path / "o[" / "b].json")
    assert text_of(out).startswith("1 modèle [x].onnx: 4 corner")
    assert "  onnx         0/9 mismatches  against the reference, " in text_of(out)
    assert (tmp_path / "o[" / "b].json").is_file()


@pytest.mark.parametrize("name", ["o[/b].onnx", "[red]x.onnx", ":bug:.onnx"])
def test_errors_show_names_as_they_are(name, capsys):
    with pytest.raises(SystemExit):
        cli.main(["verify", name, "--stages", "onnx"])
    assert name in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1 modèle [x]", "m_1_mod_le__x_"),
        ("_x", "m__x"),
        ("consmax", "consmax"),
        ("é" * 200, "m_" + "_" * 58),
        ("a" * 200, "a" * 60),
    ],
)
def test_any_file_name_makes_an_overlay(name, expected):
    flow = Flow(name, load_model(MODEL))
    assert flow.design.name == flow.identifier == expected


def test_the_clock_is_the_one_converted_for():
    model = load_model(MODEL)
    assert Flow("x", model).design.clock_mhz == 100
    assert Flow("x", model, config=HlsConfig(clock_period_ns=8)).design.clock_mhz == 125


@contextmanager
def reference_stage(flow, name):
    """In place of every stage: the reference, as a board would show it."""
    run = Reference(flow.graph).run
    yield BoardStage(flow.graph, SimpleNamespace(device_tag=f"emulated:{flow.board}", predict_codes=run))


def test_a_missing_keras_model_is_noted_a_changed_one_fails(tmp_path):
    model = tmp_path / "consmax.onnx"
    model.write_bytes(MODEL.read_bytes())
    assert "consmax.npz are not there" in Flow.open(model).absent_stages()["keras"]
    (tmp_path / "consmax.npz").write_bytes(MODEL.with_suffix(".npz").read_bytes() + b"x")
    assert "keras" not in Flow.open(model).absent_stages()
    with pytest.raises(ModelFileError, match="changed since the export"):
        verify.verify(*consoles(), model, None, 9, 0, None, None, None)


@pytest.mark.parametrize("name", ["", "../consmax.npz", "x" * 400])
def test_a_file_that_names_no_keras_model(name):
    model = onnx.load(MODEL)
    next(p for p in model.metadata_props if p.key == "hls4attn.weights").value = name
    assert re.search("does not say which|are not there", Flow("x", model).absent_stages()["keras"])


def test_what_is_not_installed_is_noted(monkeypatch):
    def missing():
        raise ToolError("PYNQ is not installed")

    monkeypatch.setattr("hls4attn.host.flow.import_pynq", missing)
    monkeypatch.setattr("hls4attn.host.flow.require_keras", missing)
    monkeypatch.setattr(Flow, "stage", reference_stage)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    out, err = consoles()
    verify.verify(out, err, MODEL, None, 9, 0, None, None, None)
    lines = text_of(out).splitlines()
    assert "4 corner + 5 random (seed 0) samples; no test set: scikit-learn" in lines[0]
    assert lines[1:3] == [f"  {s:<12} not compared: PYNQ is not installed" for s in ("keras", "board")]
    assert len(lines[3:]) == len(STAGES) - 2
    with pytest.raises(ToolError, match="scikit-learn"):
        run.run(out, err, MODEL, None, None, None, None)


def test_the_board_rung_says_which_board():
    flow = Flow("x", load_model(MODEL), board="kv260")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flow, "stage", reference_stage)
        out, err = consoles()
        rungs = verify.climb_and_print(out, err, flow, random_codes(flow.graph.input, 5, 0), ["board"])
    expected = r"  board        0/5 mismatches  against the reference, [\d.]+ s  \(emulated:kv260\)\n"
    assert re.fullmatch(expected, text_of(out))
    assert set(rungs[0].to_json()) == {"stage", "against", "samples", "mismatches"}


def test_finished_rungs_are_written_when_a_later_one_fails(tmp_path, monkeypatch):
    def stage(flow, name):
        if name == "csim":
            raise ToolError("no compiler")
        return reference_stage(flow, name)

    monkeypatch.setattr(Flow, "stage", stage)
    with pytest.raises(ToolError, match="no compiler"):
        verify.verify(*consoles(), MODEL, None, 9, 0, ["board", "csim", "onnx"], None, tmp_path / "o.json")
    rows = json.loads((tmp_path / "o.json").read_text())
    assert rows == [{"stage": "board", "against": "reference", "samples": 9, "mismatches": 0}]


def test_boards_are_known_before_anything_runs(monkeypatch):
    monkeypatch.delenv("HLS4ATTN_EMULATED_BOARD", raising=False)
    assert Flow("x", load_model(MODEL)).board == chosen_board() == "pynq-z2"
    with pytest.raises(UnsupportedError, match=r"Unknown board 'foo'.*pynq-z2"):
        verify.verify(*consoles(), MODEL, None, 9, 0, ["onnx"], "foo", None)
    monkeypatch.setenv("HLS4ATTN_EMULATED_BOARD", "KV260")
    assert Flow("x", load_model(MODEL)).design.board.name == "kv260"
    with pytest.raises(InputError, match="its own name, such as pynq-z2.* HLS4ATTN_EMULATED_BOARD=pynq-z2"):
        chosen_board("emulated:pynq-z2")
    assert chosen_board("zcu104") == "zcu104"
    monkeypatch.setenv("HLS4ATTN_EMULATED_BOARD", "")
    assert chosen_board() == "pynq-z2"


def test_negative_seeds_are_refused():
    with pytest.raises(InputError, match="seed must not be negative"):
        verify.verify(*consoles(), MODEL, None, 9, -1, ["onnx"], None, None)
    assert parse_seeds("0, 1,2") == [0, 1, 2]
    for text in ("-1", "0,-2", str(1 << 32), "", "a"):
        with pytest.raises(InputError, match="Seeds are"):
            parse_seeds(text)


def test_run_counts_inputs_beyond_their_format(tmp_path, monkeypatch):
    """The input format is unsigned or signed with a few bits: 1e9 and -1e9 are beyond it, 0 is not."""

    @contextmanager
    def on_board(flow, model=None):
        predict = lambda batch: np.zeros((len(batch), 10))  # noqa: E731
        model = SimpleNamespace(predict=predict, device_tag="emulated:x", samples=2, cycles=None, cycles_are=None)
        yield SimpleNamespace(model=model)

    monkeypatch.setattr(Flow, "on_board", on_board)
    batch = np.zeros((2, 8, 8))
    for count in (0, 2):
        batch[1, 1, :count] = (1e9, -1e9)[:count]
        np.save(tmp_path / "x.npy", batch)
        out, err = consoles()
        run.run(out, err, MODEL, None, tmp_path / "x.npy", None, tmp_path / "o.json")
        assert json.loads((tmp_path / "o.json").read_text())["clipped"] == count
        assert ("input: 2 of 128 values clipped to the input format" in text_of(out)) == (count > 0)


def test_a_configuration_without_a_part_takes_the_boards(tmp_path):
    from hls4attn.host.verbs.common import hls_settings

    path = tmp_path / "c.toml"
    path.write_text("reuse_factor = 4\n")
    settings, fitted = hls_settings("kv260", path)
    assert not fitted
    assert (settings.part, settings.reuse_factor, settings.backend) == ("xck26-sfvc784-2LV-c", 4, "Vitis")
    path.write_text('[hls]\npart = "xc7z020clg400-1"\n')
    with pytest.raises(InputError, match="says part='xc7z020clg400-1', the command line 'xck26"):
        hls_settings("kv260", path)


def test_projects_of_both_io_types_lie_side_by_side(tmp_path, monkeypatch):
    import hls4attn.hls.project as module

    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "convert", lambda model, folder, config: (folder, config.io_type))
    found = [Flow("x", load_model(MODEL), config=HlsConfig(io_type=io)).project for io in ("io_parallel", "io_stream")]
    assert [folder.parent for folder, _ in found] == [tmp_path / "projects"] * 2
    assert [folder.name.rsplit("-", 1)[1] for folder, _ in found] == ["io_parallel", "io_stream"]


def test_the_command_line_and_a_file_must_agree_on_streams(tmp_path):
    from hls4attn.host.verbs.common import hls_settings

    path = tmp_path / "c.toml"
    path.write_text('[hls]\nio_type = "io_stream"\nreuse_factor = 4\nlanes = 8\nparallel_heads = 2\n')
    settings, fitted = hls_settings("pynq-z2", path, {"io_type": "io_stream", "lanes": None})
    assert not fitted
    assert (settings.reuse_factor, settings.lanes, settings.parallel_heads) == (4, 8, 2)
    with pytest.raises(InputError, match="says lanes=8, the command line 4"):
        hls_settings("pynq-z2", path, {"lanes": 4})
    path.write_text('[hls]\nio_type = "io_stream"\n')
    assert hls_settings("pynq-z2", path)[1]
    assert not hls_settings("pynq-z2", path, {"reuse_factor": 1})[1]
    assert choices_given("io_stream", 2) == {"io_type": "io_stream", "reuse_factor": 2}


def test_without_a_reuse_factor_the_smallest_that_fits_the_board_is_taken():
    small = Flow.open(MODEL, board="pynq-z2", config=HlsConfig(io_type="io_stream"), fitted=True)
    large = Flow.open(MODEL, board="zcu104", config=HlsConfig(io_type="io_stream"), fitted=True)
    assert small.settings.reuse_factor > large.settings.reuse_factor >= 1
    assert Flow.open(MODEL, config=HlsConfig(io_type="io_stream", reuse_factor=2)).settings.reuse_factor == 2
    assert Flow.open(MODEL, config=HlsConfig(), fitted=True).settings.reuse_factor == 1
