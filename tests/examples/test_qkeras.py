# SPDX-License-Identifier: Apache-2.0
"""A user's own QKeras transformer, from training to the emulated board, and again through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.examples.running import EXAMPLES, command, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder and output of the example."""
    folder = tmp_path_factory.mktemp("qkeras")
    done = run(EXAMPLES / "qkeras_transformer.py", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.slow
@pytest.mark.compile
def test_every_stage_agrees_and_the_board_diagnoses_like_keras(trained: tuple[Path, str]) -> None:
    _, text = trained
    stages = re.findall(r"^(\w+) +(\d+)/(\d+) mismatches", text, re.MULTILINE)
    assert [s[0] for s in stages] == ["keras", "onnx", "qonnx", "onnxruntime", "csim", "board"]
    assert all(wrong == "0" and int(samples) >= 200 for _, wrong, samples in stages)
    shares = re.findall(r"^(.+): (\d+\.\d+)% of 143 test patients", text, re.MULTILINE)
    assert [where for where, _ in shares] == ["Keras on the CPU", "emulated:pynq-z2"]
    assert shares[0][1] == shares[1][1]
    assert float(shares[0][1]) > 90


@pytest.mark.slow
@pytest.mark.compile
def test_the_saved_model_takes_the_same_road_on_the_command_line(trained: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = trained
    exported, record = folder / "again.onnx", tmp_path / "verify.json"
    for arguments in (
        ["export", folder / "diagnosis.keras", exported],
        ["verify", exported, "--samples", 100, "--stages", "keras,onnxruntime,csim,board", "--json", record],
        ["run", exported, "--input", folder / "x_test.npy", "--output", tmp_path / "logits.npy"],
    ):
        code, text = command(*arguments)
        assert code == 0, text
    rungs = json.loads(record.read_text())
    assert [(r["stage"], r["mismatches"]) for r in rungs] == [(s, 0) for s in ("keras", "onnxruntime", "csim", "board")]
    logits = np.load(tmp_path / "logits.npy")
    assert logits.shape == (143, 1)
    assert len(np.unique(logits)) > 20
