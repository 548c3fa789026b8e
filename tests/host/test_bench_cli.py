# SPDX-License-Identifier: Apache-2.0
"""`hls4attn bench --board` where models can be read, and where they cannot."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import command

pytest.importorskip("pynq")
from fake_board import built_package

HERE = Path(__file__).parent
pytestmark = pytest.mark.usefixtures("pynq_state")


@pytest.mark.compile
def test_the_verb_on_the_emulated_board(capsys, monkeypatch, tmp_path):
    target = tmp_path / "b.json"
    code, out, err = command(capsys, monkeypatch, "bench", "--board", "emulated:pynq-z2", "--json", target)
    assert code == 0, err
    written = json.loads(target.read_text())
    assert written["device"] == "emulated:pynq-z2"
    assert written["quality"] == {"samples": 360, "mismatches": 0, "accuracy": written["quality"]["accuracy"]}
    assert written["quality"]["accuracy"] >= 0.95
    assert "0/360 mismatches" in out
    assert f"{written['cycles']['one']:,} cycles" in out


@pytest.mark.compile
def test_the_verb_takes_a_model_file(capsys, monkeypatch, tmp_path):
    from hls4attn.models.zoo import zoo_model

    file = zoo_model("digits-vit").folder / "softmax.onnx"
    code, out, _ = command(
        capsys, monkeypatch, "bench", file, "--board=emulated", "--batch", 2, "--json", tmp_path / "j"
    )
    assert code == 0
    assert "softmax (model" in out
    assert "0/360 mismatches" in out


def test_what_the_verb_refuses(capsys, monkeypatch, tmp_path):
    for arguments, words in (
        (["bench", "atention"], "No overlay 'atention'"),
        (["bench", "--board", "arty"], "Unknown board 'arty'"),
        (["bench", "--board", "emulated", "--batch", "0"], "must be positive"),
        (["bench", "--batch", "0"], "must be positive"),
        (["bench", "--seconds", "inf"], "at most 3600"),
        (["bench", "--json", tmp_path / "x", "attention"], "after the word attention"),
        (["bench", "--board", "emulated", "--json", tmp_path], "it is a folder"),
        (["bench", "no.onnx", "--board", "emulated"], "No such file"),
    ):
        code, _, err = command(capsys, monkeypatch, *arguments)
        assert code == 2, arguments
        assert words in err
        assert len(err.strip().splitlines()) == 1


BARE_BOARD = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"onnx", "sklearn", "tensorflow", "qkeras", "hls4ml", "qonnx", "matplotlib"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import pynq
from fake_board import FakeBoard
from hls4attn.host import cli
from hls4attn.host.library import find_overlay, model_file
from hls4attn.models.zoo.vectors import read_vectors
vectors = read_vectors(model_file("digits"))
answers = {x.tobytes(): y for x, y in zip(vectors.inputs, vectors.outputs)}
def logic(codes):
    return [answers[x.tobytes()] for x in codes]
design = find_overlay("digits", "pynq-z2", sys.argv[1]).design
pynq.Device._devices = [FakeBoard("pynq-z2", {design: logic})]
cli.main(["bench", "--board", "pynq-z2", "--overlays", sys.argv[1], "--seconds", "0.05", "--json", sys.argv[2]])
"""


def test_a_board_needs_no_onnx_and_no_data_set(tmp_path):
    """A PYNQ image has numpy and pynq: the files of the overlay and the package's vectors are enough."""
    from hls4attn.host.library import overlay_flow

    built_package(overlay_flow("digits", "pynq-z2").design, tmp_path / "pynq-z2")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    environment.pop("HLS4ATTN_EMULATED_BOARD", None)
    command_line = [sys.executable, "-c", BARE_BOARD, str(tmp_path), str(tmp_path / "b.json")]
    done = subprocess.run(command_line, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["device"] == "board:pynq-z2"
    assert written["quality"] == {"samples": 360, "mismatches": 0, "accuracy": pytest.approx(353 / 360)}
    assert written["mlperf_tiny"]["latency_s"]["value"] > 0
    assert written["cycles"] is written["at_clock_read_back"] is None  # this logic has no counter
    assert "the counter stands still" in written["cycles_reason"]
    assert "no power sensor" in written["mlperf_tiny"]["energy_per_inference_j"]["reason"]


@pytest.mark.parametrize("name", ["digits", "my.onnx"])
def test_an_emulated_board_without_onnx(name):
    """One line, not a traceback."""
    code = BARE_BOARD[: BARE_BOARD.index("import pynq")] + "from hls4attn.host import cli\ncli.main(sys.argv[1:])"
    arguments = ["bench", name, "--board", "emulated"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 3
    assert "needs onnx" in done.stderr
    assert "hls4attn[convert]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
