# SPDX-License-Identifier: Apache-2.0
"""Files that PyTorch, Brevitas and ONNX Runtime wrote: imported, verified, or refused with a remedy.

The files beside `examples/data/make.py` were made by it with the versions in `samples.json`; where torch is installed
(or a Python with torch is named by HLS4ATTN_TORCH_PYTHON), the script runs again in the slow tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from hls4attn.models.export import Reference, read_graph
from tests.examples.running import DATA, EXAMPLES, command, run

SAMPLES: dict[str, Any] = json.loads((DATA / "samples.json").read_text())["samples"]
EXPECTED = np.load(DATA / "expected.npz")
TORCH = os.environ.get("HLS4ATTN_TORCH_PYTHON", sys.executable)
NEEDED = "torch brevitas onnxscript onnxoptimizer onnxruntime qonnx scikit-learn"


def logits(path: Path) -> NDArray[np.float64]:
    """Of the stored images, by the integer reference."""
    graph = read_graph(path)
    y: NDArray[np.float64] = graph.output.format.to_real(
        Reference(graph).run(graph.input.format.quantise(EXPECTED["images"]))
    )
    return y


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Imports a sample once a set of options; the file."""
    folder = tmp_path_factory.mktemp("imported")

    @cache
    def of(name: str, *options: str) -> Path:
        target = folder / f"{name}{len(options)}.onnx"
        code, text = command("import", DATA / f"{name}.onnx", target, *options)
        assert code == 0, text
        return target

    return of


def test_the_samples_are_those_of_the_record() -> None:
    found = {p.stem: hashlib.sha256(p.read_bytes()).hexdigest() for p in DATA.glob("*.onnx")}
    assert found == {name: sample["sha256"] for name, sample in SAMPLES.items()}
    assert all(p.stat().st_size < 60_000 for p in DATA.iterdir())
    assert sum(p.stat().st_size for p in DATA.iterdir() if p.is_file()) < 256_000
    assert all(b"/home/" not in p.read_bytes() and b"/root/" not in p.read_bytes() for p in DATA.glob("*.onnx"))


def calibration(folder: Path) -> Path:
    np.save(folder / "images.npy", EXPECTED["images"])
    return folder / "images.npy"


#: What the import needs beside the file, and how much of the model's decisions it may change.
TAKEN = {
    "brevitas_qonnx": ((), 0.04),
    "brevitas_qcdq": ((), 0.04),
    "brevitas_per_channel": ((), 0.04),
    "brevitas_float_scales": (("--scales", "power-of-two"), 0.1),
    "ort_qdq_symmetric": (("--scales", "power-of-two"), 0.1),
    "torch_mha": (("--calibration",), 0.1),
}


@pytest.mark.parametrize("name", TAKEN)
def test_imported_models_decide_like_pytorch(
    name: str, imported: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    options, share = TAKEN[name]
    if "--calibration" in options:
        options = (*options, str(calibration(tmp_path_factory.mktemp("images"))))
    ours, theirs = logits(imported(name, *options)), EXPECTED[name]
    assert ours.shape == theirs.shape
    assert np.mean(ours.argmax(1) != theirs.argmax(1)) <= share
    assert np.mean(ours.argmax(1) == EXPECTED["labels"]) > 0.8
    assert len(np.unique(ours)) > 40


def test_both_dialects_of_one_model_are_the_same_integers(imported: Any) -> None:
    first, second = (logits(imported(name)) for name in ("brevitas_qonnx", "brevitas_qcdq"))
    assert np.array_equal(first, second)


@pytest.mark.compile
def test_an_imported_model_is_the_same_at_every_stage(imported: Any, tmp_path: Path) -> None:
    stages = ("onnx", "qonnx", "onnxruntime", "csim", "board")
    path, record = imported("brevitas_qonnx"), tmp_path / "verify.json"
    code, text = command("verify", path, "--samples", 100, "--stages", ",".join(stages), "--json", record)
    assert code == 0, text
    rows = json.loads(record.read_text())
    assert [(r["stage"], r["mismatches"]) for r in rows] == [(s, 0) for s in stages]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "brevitas_float_scales",
            r"node__symbolic \(Quant\): scale 0\.00789\d* is no power of two .*Brevitas: the \.\.\.FixedPoint "
            "quantisers.* or import with --scales power-of-two",
        ),
        ("ort_qdq", r"bias_DequantizeLinear \(DequantizeLinear\): zero point \d+, .*'ActivationSymmetric': True"),
        ("ort_qdq_symmetric", r"\(DequantizeLinear\): scale [\d.]+ is no power of two .*--scales power-of-two"),
        ("torch_mha", r"node_MatMul_1 \(MatMul\): .* has no quantiser .*QuantIdentity.*--calibration DATA\.npy"),
    ],
)
def test_what_is_no_exact_integer_model_is_refused(name: str, message: str, tmp_path: Path) -> None:
    import re

    code, text = command("import", DATA / f"{name}.onnx", tmp_path / "out.onnx")
    assert code == 2
    assert re.search(message, text), text
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("name", SAMPLES)
def test_the_other_verbs_point_to_the_import(name: str) -> None:
    code, text = command("verify", DATA / f"{name}.onnx")
    assert code == 2
    assert "hls4attn import" in text


def has_torch() -> bool:
    names = NEEDED.replace("scikit-learn", "sklearn").replace(" ", ", ")
    return subprocess.run([TORCH, "-c", f"import {names}"], capture_output=True, check=False).returncode == 0


def operators(path: Path) -> list[str]:
    return [n.op_type for n in onnx.load(path).graph.node]


@pytest.mark.slow
def test_the_scripts_write_such_files_again(tmp_path: Path) -> None:
    if not has_torch():
        pytest.skip(f"no torch in {TORCH}: pip install {NEEDED}, or name a Python with them in HLS4ATTN_TORCH_PYTHON")
    done = run(DATA / "make.py", tmp_path, "--epochs", 2, python=TORCH)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "samples.json").read_text())
    assert set(record["samples"]) == set(SAMPLES)
    if record["versions"] == json.loads((DATA / "samples.json").read_text())["versions"]:
        assert {n: operators(tmp_path / f"{n}.onnx") for n in SAMPLES} == {
            n: operators(DATA / f"{n}.onnx") for n in SAMPLES
        }
    for options in ((), ("--qcdq",)):
        target = tmp_path / "own.onnx"
        done = run(EXAMPLES / "pytorch_encoder.py", target, "--epochs", 2, *options, python=TORCH)
        assert done.returncode == 0, done.stderr
        assert "% on the test images" in done.stdout
        code, text = command("import", target, tmp_path / "imported.onnx")
        assert code == 0, text
