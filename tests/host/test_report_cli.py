# SPDX-License-Identifier: Apache-2.0
"""`hls4attn report` on the command line: models, folders, builds, archives, sweeps, and what it refuses."""

import json
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
from command_line import command
from reported import operator_file, project, sweep_file

from hls4attn.host.building import verb
from tests.fake_vivado.workshop import Workshop, sample_recipe


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_model(here, capsys, monkeypatch):
    operator_file(here)
    code, out, err = command(
        capsys, monkeypatch, "report", "op.onnx", "--samples", 20, "--stages", "onnx,qonnx", "--json", "r.json"
    )
    assert (code, err) == (0, "")
    assert "qonnx        0/20 mismatches" in out and "report: build/report/op.html" in out
    text, twin = ((here / "build" / "report" / f"op.{kind}").read_text() for kind in ("html", "md"))
    for said in ("ConSmax", "it does not stream", "hls4attn verify op.onnx --samples 20 --seed 0"):
        assert said in text and said in twin
    for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", twin):
        assert (here / "build" / "report" / link).is_file()
    keys = [s["key"] for s in json.loads((here / "r.json").read_text())["sections"]]
    assert keys == [
        *("model", "verification", "accuracy", "estimate", "synthesis"),
        *("errors", "attention", "row-sums", "claims", "reproduce"),
    ]


def test_a_folder_of_convert(here, capsys, monkeypatch):
    project(here / "p", operator_file(here))
    assert command(capsys, monkeypatch, "report", "p", "--samples", 9, "--stages", "onnx", "--out", "a.html")[0] == 0
    code, out, _ = command(capsys, monkeypatch, "report", "p", "--out", "b.html")
    assert code == 0 and "taken from p/verification.json" in out
    code, _, err = command(capsys, monkeypatch, "report", "p", "--io", "io_stream")
    assert code == 2 and "p says itself how it was made; leave out --io" in err
    from hls4attn.hls.project import convert

    again = convert(here / "p" / "model.onnx", here / "p")  # what was left is nobody's work
    assert again.path == here / "p"


def test_its_commands_lead_there_again(here, capsys, monkeypatch):
    """What stands under Reproduce is run in another folder, and ends with the same hashes."""
    project(here / "p", operator_file(here))
    assert command(capsys, monkeypatch, "report", "p", "--samples", 9, "--stages", "onnx", "--seed", 3)[0] == 0
    first = here / "build" / "report" / "op.md"
    lines = first.read_text().split("```text\n")[1].split("\n```")[0].splitlines()
    assert [line.split()[1] for line in lines] == ["convert", "verify", "report"]
    (here / "fresh").mkdir()
    shutil.copy(here / "op.onnx", here / "fresh")
    monkeypatch.chdir(here / "fresh")
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "hls4attn" and command(capsys, monkeypatch, *arguments)[0] == 0, line
    again = (here / "fresh" / "build" / "report" / "op.md").read_text()
    hashes = re.findall(r"[0-9a-f]{64}", first.read_text())
    assert len(hashes) == 4 and re.findall(r"[0-9a-f]{64}", again) == hashes
    parts = [text.split("## Errors")[1].split("## Claims")[0] for text in (first.read_text(), again)]
    assert parts[0] == parts[1]


def test_a_mismatch_is_written_and_exits_1(here, capsys, monkeypatch):
    from hls4attn.models.export.stages import OnnxRuntimeStage

    honest = OnnxRuntimeStage.run
    monkeypatch.setattr(OnnxRuntimeStage, "run", lambda self, codes: honest(self, codes) + (codes[:, :1, :1, :1] == 0))
    operator_file(here)
    code, _, err = command(capsys, monkeypatch, "report", "op.onnx", "--samples", 20, "--stages", "onnxruntime")
    assert code == 1 and "stages that differ from the reference: onnxruntime" in err
    assert "Not equal: onnxruntime." in (here / "build" / "report" / "op.md").read_text()


@pytest.fixture
def workshop(here, monkeypatch):
    found = Workshop(here, monkeypatch, ())

    def recipe(plan, folder):
        made = sample_recipe(plan.design, folder)
        found.set(made.scripts, plan.design, fault=None)
        return made

    monkeypatch.setattr(verb, "_recipe", recipe)
    monkeypatch.setattr(verb, "_dry_run", lambda *_: {"summary": "dry run: clean"})
    return found


def test_a_build_before_and_after_vivado_and_its_archive(workshop, here, capsys, monkeypatch):
    folder = here / "build" / "digits-pynq-z2"
    assert command(capsys, monkeypatch, "build", "--dry-run")[0] == 0
    assert (folder / "model.onnx").is_file() and json.loads((folder / "made.json").read_text())["verb"] == "build"
    code, _, err = command(capsys, monkeypatch, "report", str(folder), "--samples", 0, "--out", "dry.html")
    assert (code, err) == (0, "")
    assert "Not built yet: digits-pynq-z2 has no build.json." in (here / "dry.md").read_text()
    workshop.add("vivado", "vitis-run")
    assert command(capsys, monkeypatch, "build")[0] == 0
    archive = folder / "digits-pynq-z2.zip"
    with zipfile.ZipFile(archive) as held:
        made = json.loads(held.read("digits-pynq-z2/made.json"))
    assert made["source_folder"] == "" and made["source"] == "consmax.onnx"
    for what in (folder, archive):
        code, _, err = command(capsys, monkeypatch, "report", str(what), "--samples", 0, "--out", "built.html")
        assert (code, err) == (0, "")
        twin = (here / "built.md").read_text()
        place = "digits-pynq-z2/digits-pynq-z2.zip" if what == archive else "digits-pynq-z2"
        assert "--out digits-pynq-z2 " in twin and f"hls4attn report {place} --samples 0" in twin
        assert "| lut | 21234 |" in twin and "Built digits.bit" in twin and "not measured on a board" not in twin


@pytest.mark.slow
def test_a_build_in_verilog_has_the_clocks_of_its_rtl(here, capsys, monkeypatch):
    assert command(capsys, monkeypatch, "build", "--rtl", "--dry-run", "--out", "r")[0] == 0
    assert command(capsys, monkeypatch, "report", "r", "--samples", 0, "--out", "r.html")[0] == 0
    twin = (here / "r.md").read_text()
    assert "Verilog, io_stream" in twin and "Latency: 1,354 cycles" in twin and "--overlay digits" in twin
    assert "--rtl --clock 100" in twin and "--backend" not in twin


@pytest.mark.slow
def test_commands_of_a_build_are_those_that_it_takes(here, capsys, monkeypatch):
    """They are given back to the command line, which refuses options that change nothing."""
    for arguments in (("--overlay", "gaincell"), ()):
        folder = here / "b"
        assert command(capsys, monkeypatch, "build", *arguments, "--dry-run", "--out", folder)[0] == 0
        assert (
            command(capsys, monkeypatch, "report", folder, "--samples", 0, "--out", "b.html", "--json", "b.json")[0]
            == 0
        )
        (found,) = [
            b
            for s in json.loads((here / "b.json").read_text())["sections"]
            for b in s["blocks"]
            if b["kind"] == "commands"
        ]
        line = shlex.split(found["lines"][0])
        source = Path(json.loads((folder / "made.json").read_text())["source_folder"]) / line[2]
        code, _, err = command(capsys, monkeypatch, *line[1:2], source, *line[3:], "--dry-run", "--out", here / "again")
        assert (code, err) == (0, "")
        both = [json.loads((place / "made.json").read_text()) for place in (folder, here / "again")]
        assert both[0]["config"] == both[1]["config"] and both[0]["model_id"] == both[1]["model_id"]
        shutil.rmtree(folder), shutil.rmtree(here / "again")


def test_a_bank_of_operators_has_no_model_and_a_report(workshop, here, capsys, monkeypatch):
    assert command(capsys, monkeypatch, "build", "--overlay", "operators", "--dry-run", "--out", "ops")[0] == 0
    code, out, err = command(capsys, monkeypatch, "report", "ops", "--out", "ops.html")
    assert (code, err) == (0, "") and "report: ops.html" in out
    assert "has no one model" in (here / "ops.md").read_text()
    assert not (here / "ops" / "made.json").exists()


@pytest.mark.parametrize(
    "damage",
    [
        {"clock_mhz": {}},
        {"tools": {"vivado": 3}},
        {"reports": {"utilization": {"lut": 3}}},
        {"reports": {"timing": {"met": True}}},
        {"reports": {"power": 1.5}},
        {"reports": {"hls": {"k": {"latency_max": "x", "interval_max": 1}}}},
    ],
)
def test_figures_that_no_build_writes_are_one_line(here, capsys, monkeypatch, damage):
    clock = {"made": 100.0, "requested": 100.0}
    record = {"kind": "hls4attn-build", "version": 1, "overlay": "ops", "board": "pynq-z2", "part": "xc7"}
    record |= {"clock_mhz": clock, "tools": {}, "reports": {}, "sha256": {}}
    for change in ({}, damage):
        with zipfile.ZipFile(here / "b.zip", "w") as archive:
            archive.writestr("b/build.json", json.dumps(record | change))
        code, _, err = command(capsys, monkeypatch, "report", "b.zip", "--out", "b.html")
        assert code == (2 if change else 0), err
        assert ("build.json: its figures are damaged" in err) == bool(change) and "Traceback" not in err


def test_a_sweep(here, capsys, monkeypatch):
    sweep_file(here / "s.sqlite", finished=True)
    code, out, err = command(capsys, monkeypatch, "report", "s.sqlite")
    assert (code, err) == (0, "") and "report: build/report/s.html" in out
    code, _, err = command(capsys, monkeypatch, "report", "s.sqlite", "--samples", 3)
    assert code == 2 and "leave out --samples" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "No such file or folder: nothing. A report is about claims, a model"),
        (("op.onnx", "--out", "r.pdf"), "r.pdf: the file to write must end in .html"),
        (("op.onnx", "--section", "sole"), "op.onnx takes no --section"),
        (("op.onnx", "--stages", "rust"), "Unknown stages ['rust']; known: keras"),
        (("op.onnx", "--stages", ""), "Unknown stages []"),
        (("op.onnx", "--samples", "-1"), "--samples must not be negative"),
        (("op.onnx", "--board", "de10"), "de10"),
        (("op.onnx", "--lanes", "2", "--io", "io_parallel"), "lanes and parallel_heads have no effect"),
        (("op.onnx", "--out", "/proc/r.html"), "Cannot write /proc/r.html"),
        (("op.onnx", "--out", "r.html", "--json", "r.md"), "r.md is to be written but is also r.md"),
        (("claims", "--out", "r.html"), "claims takes no --out"),
        (("claims", "--board", "pynq-z1", "--reuse", "2"), "claims takes no --board and no --reuse"),
    ],
)
def test_refusals_are_one_line_and_leave_nothing(here, capsys, monkeypatch, arguments, said):
    operator_file(here)
    code, _, err = command(capsys, monkeypatch, "report", *arguments)
    assert code == 2 and said in " ".join(err.split()) and "Traceback" not in err
    assert sorted(p.name for p in here.iterdir()) == ["op.onnx"]


def test_claims_are_as_they_were(here, capsys, monkeypatch):
    code, out, err = command(capsys, monkeypatch, "report", "claims", "--section", "consmax", "--json", "c.json")
    assert (code, err) == (0, "") and "the look-up is lossless" in out
    assert len(json.loads((here / "c.json").read_text())) == 5


def test_the_demo_ends_with_the_report(here, capsys, monkeypatch):
    """All but the ladder's slow stages."""
    from hls4attn.host import demo
    from hls4attn.host.verbs.verify import climb_and_print

    monkeypatch.setattr(demo, "climb_and_print", lambda *a: climb_and_print(*a[:4], ["onnxruntime", "board"]))
    code, out, err = command(capsys, monkeypatch, "demo", "--out", "d", "--samples", 20)
    assert (code, err) == (0, "")
    assert "  report: d/report.md   picture: d/digits.png" in out.splitlines()
    assert "On emulated:pynq-z2: 98.06% of 360 test images." in (here / "d" / "report.md").read_text()
    assert (here / "d" / "report.html").is_file() and (here / "d" / "digits.png").is_file()
    assert json.loads((here / "d" / "project" / "verification.json").read_text())["samples"] == 20
