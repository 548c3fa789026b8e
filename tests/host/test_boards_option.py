# SPDX-License-Identifier: Apache-2.0
"""Boards of the user's own, on the command line."""

import json

from command_line import command

from hls4attn.models.zoo import zoo_model
from hls4attn.overlays.boards import ENVIRONMENT

MODEL = zoo_model("digits-vit").folder / "consmax.onnx"
ZYBO = """[zybo-z7-20]
family = "zynq"
part = "xc7z020clg400-1"
board_part = "digilentinc.com:zybo-z7-20:part0:1.0"
hp_width = 64
ps_clock_mhz = 33.333333
cma_mb = 64
lut = 53200
ff = 106400
dsp = 220
bram36 = 140
"""


def test_a_file_of_boards_is_read_before_the_verb(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv(ENVIRONMENT, "")  # also restored after the test
    path, result = tmp_path / "mine.toml", tmp_path / "result.json"
    path.write_text(ZYBO)
    arguments = ("estimate", MODEL, "--board", "zybo-z7-20", "--json", result)
    code, _, errors = command(capsys, monkeypatch, *arguments)
    assert (code, errors.split(". ")[0]) == (2, "error: Unknown board 'zybo-z7-20'"), errors
    assert "--boards" in errors
    code, text, errors = command(capsys, monkeypatch, "--boards", path, *arguments)
    assert code == 0, errors
    assert "zybo-z7-20*" in text
    assert "zybo-z7-20" in {b["board"] for b in json.loads(result.read_text())["boards"]}


def test_a_bad_file_of_boards_is_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv(ENVIRONMENT, "")
    path = tmp_path / "mine.toml"
    path.write_text(ZYBO.replace("zynq", "versal", 1))
    code, text, errors = command(capsys, monkeypatch, "--boards", path, "doctor")
    assert (code, text) == (2, "")
    assert errors.startswith(f"error: {path}: board zybo-z7-20: family must be one of")
    assert len(errors.splitlines()) == 1
