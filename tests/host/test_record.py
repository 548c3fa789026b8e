# SPDX-License-Identifier: Apache-2.0
"""The committed record is of the committed models."""

import hashlib
import json
from dataclasses import replace

import pytest

from hls4attn.host.bench import record
from hls4attn.host.bench.record import SUBJECTS, estimated, read_record, verified
from hls4attn.host.bench.record import main as record_main
from hls4attn.models.errors import ModelFileError

BY_NAME = {s.name: s for s in SUBJECTS}
STAGES = ("keras", "onnx", "qonnx", "onnxruntime", "csim", "board")


def test_the_record_is_of_the_committed_models():
    rows = read_record()
    assert [r["name"] for r in rows] == list(BY_NAME)
    for row in rows:
        subject = BY_NAME[row["name"]]
        assert row["sha256"] == hashlib.sha256(subject.path.read_bytes()).hexdigest()
        asked = {"rtl": 200} if subject.rtl else dict.fromkeys(STAGES, subject.samples) | {"qonnx": 200}
        assert {r["stage"]: r["samples"] for r in row["verified"]} == asked
        assert {r["mismatches"] for r in row["verified"]} == {0}


@pytest.mark.parametrize("name", list(BY_NAME))
def test_estimates_of_the_record(name):
    assert estimated(BY_NAME[name]) == next(r["estimate"] for r in read_record() if r["name"] == name)


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.parametrize("name", list(BY_NAME))
def test_stages_of_the_record(name):
    assert verified(BY_NAME[name]) == next(r["verified"] for r in read_record() if r["name"] == name)


@pytest.mark.compile
def test_a_record_is_measured(tmp_path, monkeypatch, capsys):
    subject = replace(BY_NAME["consmax"], samples=5)
    monkeypatch.setattr(record, "SUBJECTS", (subject,))
    record_main([str(tmp_path / "r.json")])
    found = read_record(tmp_path / "r.json")
    committed = next(r for r in read_record() if r["name"] == "consmax")
    assert [r | {"verified": None} for r in found] == [committed | {"verified": None}]
    assert [(r["stage"], r["samples"], r["mismatches"]) for r in found[0]["verified"]] == [(s, 5, 0) for s in STAGES]
    assert capsys.readouterr().out == f"{subject.title}\n"


@pytest.mark.parametrize("content", ["", "{}", '{"models": [{}]}', '{"models": [{"verified": [], "estimate": {}}]}'])
def test_a_record_that_is_none(tmp_path, content):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ModelFileError, match=r"r\.json is missing or not what"):
        read_record(tmp_path / "r.json")
    assert json.loads(record.COMMITTED.read_text())["seed"] == record.SEED
