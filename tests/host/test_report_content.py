# SPDX-License-Identifier: Apache-2.0
"""What a report is about, what it takes from a folder, and that nothing is left without an answer."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reported import by_key, operator_file, page, project, sweep_file, texts
from rich.console import Console

from hls4attn.hls.config import HlsConfig
from hls4attn.host.claims import SECTIONS
from hls4attn.host.flow import ALL_STAGES, Flow
from hls4attn.host.report import (
    accuracy,
    arithmetic,
    assembly,
    claims,
    estimated,
    ladder,
    reproduce,
    synthesised,
)
from hls4attn.host.report.asked import Asked
from hls4attn.host.report.content import Column, Commands, Facts, Section, Table
from hls4attn.host.report.made import LADDER, MADE, Made, parse_made
from hls4attn.host.report.opening import open_flow
from hls4attn.host.report.subject import find_subject
from hls4attn.host.report.verb import model_page
from hls4attn.models import zoo
from hls4attn.models.errors import InputError, ModelFileError, ToolError
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.zoo import zoo_model

QUIET = Console(quiet=True)


def digits(score="consmax"):
    return read_graph(load_model(zoo_model("digits-vit").folder / f"{score}.onnx"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("projects")
    return project(place / "op", operator_file(place))


def test_no_section_is_empty_and_no_table_ragged():
    with pytest.raises(ValueError, match="say why there is no answer"):
        Section("a", "A", ())
    with pytest.raises(ValueError, match=r"2 columns and 1 rows"):
        Table("T", (Column("a"), Column("b")), (("x",),))
    with pytest.raises(ValueError, match="1 tones"):
        Table("T", (Column("a"),), (("x",), ("y",)), ("good",))


def test_sections_and_pictures_have_names_of_their_own():
    one = page().sections[0]
    with pytest.raises(ValueError, match="sections of a page have one name: one"):
        page(sections=(one, replace(one, blocks=one.blocks[:1])))
    with pytest.raises(ValueError, match="pictures of a page have one name: dot"):
        page(sections=(one, replace(one, key="other")))


def test_what_it_is_about_is_told_by_content(folder, tmp_path):
    model = operator_file(tmp_path, name="x")
    renamed = model.rename(tmp_path / "results.sqlite")
    assert find_subject(renamed).kind == "model"
    found = find_subject(folder)
    assert (found.kind, found.name, found.made.verb) == ("project", "op", "convert")
    assert find_subject(folder / MADE).kind == "project"
    assert find_subject(sweep_file(tmp_path / "s.db")).kind == "sweep"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"hello world", "a.txt is a text file"),
        ("a.onnx", b"", "a.onnx is not a valid ONNX file|empty"),
        ("a.bin", b"", "a.bin is an empty file"),
        ("a.bin", b"\x00\x01\x02\x03", r"a.bin is no model: it begins with"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "a.zip is no model"),
    ],
)
def test_what_it_is_not_is_named_with_what_is_accepted(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((InputError, ModelFileError), match=said) as caught:
        find_subject(tmp_path / name)
    if not name.endswith(".onnx"):
        assert "a sweep's results" in str(caught.value)


def test_folders_that_hold_no_project(folder, tmp_path):
    with pytest.raises(InputError, match=r"neither hls4attn.json nor design.json is in it. Found: nothing"):
        find_subject(tmp_path)
    shutil.copytree(folder, tmp_path / "project")
    with pytest.raises(InputError, match="holds project: name one of these folders"):
        find_subject(tmp_path)
    with pytest.raises(InputError, match="No such file or folder"):
        find_subject(tmp_path / "absent")


def test_a_damaged_record_is_refused_by_name(folder, tmp_path):
    place = tmp_path / "p"
    shutil.copytree(folder, place)
    (place / MADE).write_text('{"kind": "hls4attn-made", "version": 1}')
    with pytest.raises(ModelFileError, match=r"made.json: wrong keys \(missing: board"):
        find_subject(place)
    (place / MADE).write_text("{")
    with pytest.raises(ModelFileError, match="not valid JSON"):
        find_subject(place)


def test_the_record_is_read_as_it_was_written(folder):
    made = parse_made((folder / MADE).read_bytes(), "made.json")
    assert made.source == "op.onnx" and len(made.source_sha256) == 64 and made.versions["numpy"] == np.__version__
    assert Made.to_json(made)["config"]["io_type"] == "io_parallel"


def climbed(folder, **changes):
    subject = find_subject(folder)
    flow, _ = open_flow(subject, Asked())
    return subject, flow, replace(ladder.climb(QUIET, QUIET, flow, folder, 8, 0, ["onnx"]), **changes)


def test_a_ladder_is_taken_until_anything_changes(folder, tmp_path):
    place = tmp_path / "p"
    shutil.copytree(folder, place)
    _, flow, found = climbed(place)
    ladder.leave(found, place)
    content = (place / LADDER).read_bytes()
    taken = ladder.take(content, place, flow)
    assert taken.rungs == found.rungs and taken.taken == LADDER and taken.wrong == []
    assert ladder.take(content, place, replace(flow, board="pynq-z1")) is None
    source = next(place.glob("firmware/*.cpp"))
    source.write_text(source.read_text() + "// edited\n")
    assert ladder.take(content, place, flow) is None
    with pytest.raises(ModelFileError, match=r"verification.json: not valid JSON"):
        ladder.take(content[:-9], place, flow)


def test_the_report_of_a_folder_says_whether_it_climbed(folder, tmp_path):
    place = tmp_path / "p"
    shutil.copytree(folder, place)
    _, _, found = climbed(place)
    ladder.leave(found, place)
    content, taken = model_page(QUIET, QUIET, find_subject(place), Asked())
    assert f"taken from {LADDER}" in texts(by_key(content)["verification"]) and taken.taken
    content, fresh = model_page(QUIET, QUIET, find_subject(place), Asked(samples=5, stages=["onnx"]))
    assert "climbed for this report" in texts(by_key(content)["verification"]) and fresh.samples == 5
    assert json.loads((place / LADDER).read_text())["samples"] == 5
    content, none = model_page(QUIET, QUIET, find_subject(place), Asked(samples=0))
    assert none is None and "--samples 0" in texts(by_key(content)["verification"])


def test_mismatches_and_stopped_stages_are_bad(folder):
    _, _, found = climbed(folder)
    wrong = {**found.rungs[0], "mismatches": 3, "first": "first at sample 2"}
    section, (tile,) = arithmetic.verification_section(replace(found, rungs=[wrong]), "")
    assert (tile.value, tile.tone) == ("3", "bad") and "first at sample 2" in texts(section)
    section, (tile,) = arithmetic.verification_section(replace(found, failed={"csim": "got stuck"}), "")
    assert (tile.value, tile.tone) == ("stopped", "bad") and "csim stopped: got stuck" in texts(section)
    section, (tile,) = arithmetic.verification_section(replace(found, absent={"keras": "no file"}), "")
    assert (tile.value, tile.tone) == ("0", "good") and "keras was not compared: no file" in texts(section)


def test_what_was_not_equal_is_not_called_verified(folder):
    _, _, found = climbed(folder)
    assert assembly._ran(None) == "" and assembly._ran(found) == ", not run on a board"
    board = {**found.rungs[0], "stage": "board", "device": "emulated:pynq-z2"}
    assert assembly._ran(replace(found, rungs=[board])) == ", verified on emulated:pynq-z2"
    wrong = replace(found, rungs=[{**board, "mismatches": 1}])
    assert assembly._ran(wrong) == ", not equal to the reference on emulated:pynq-z2"


def test_a_ladder_without_a_stage_verifies_nothing(folder):
    _, _, found = climbed(folder)
    section, (tile,) = arithmetic.verification_section(replace(found, rungs=[], absent={"onnx": "gone"}), "")
    assert (tile.value, tile.tone) == ("not verified", "") and "Not verified: no stage was compared." in texts(section)
    assert "onnx was not compared: gone." in texts(section) and "good" not in {
        getattr(b, "tone", "") for b in section.blocks
    }
    section, _ = arithmetic.verification_section(found, "")
    assert "1 stage equals the reference" in texts(section)


def test_every_stage_says_what_computes(folder):
    _, _, found = climbed(folder)
    rungs = [{**found.rungs[0], "stage": name} for name in ALL_STAGES]
    section, _ = arithmetic.verification_section(replace(found, rungs=rungs), "")
    (table,) = [b for b in section.blocks if isinstance(b, Table)]
    assert len({row[1] for row in table.rows} - {""}) == len(ALL_STAGES)


def test_a_stage_that_cannot_run_leaves_the_others(folder, monkeypatch):
    subject = find_subject(folder)
    flow, _ = open_flow(subject, Asked())
    whole = Flow.stage

    def stage(self, name):
        if name == "csim":
            raise ToolError("no compiler")
        return whole(self, name)

    monkeypatch.setattr(Flow, "stage", stage)
    monkeypatch.setattr(Flow, "absent_stages", lambda self: {"keras": "none", "board": "none"})
    found = ladder.climb(QUIET, QUIET, flow, None, 8, 0, None)
    assert [r["stage"] for r in found.rungs] == ["onnx", "qonnx", "onnxruntime"]
    assert found.absent["csim"] == "no compiler" and found.wrong == []
    with pytest.raises(ToolError):
        ladder.climb(QUIET, QUIET, flow, None, 8, 0, ["csim"])


def test_a_folder_says_itself_how_it_was_made(folder):
    with pytest.raises(InputError, match=r"says itself how it was made; leave out --board, --reuse"):
        open_flow(find_subject(folder), Asked(board="pynq-z1", choices={"reuse_factor": 4}))


def test_without_scores_there_are_reasons(tmp_path):
    graph = read_graph(load_model(operator_file(tmp_path, "layernorm")))
    codes, words = arithmetic.typical_codes(graph, 8, 0)
    for section in arithmetic.attention_sections(graph, codes, words):
        assert "no score function" in texts(section) and "Norm" in texts(section)
    section, tiles = accuracy.accuracy_section(graph)
    assert "no model of the zoo" in texts(section) and tiles == []
    assert "None concerns this" in texts(claims.claims_section(graph))


def test_errors_are_of_inputs_that_the_model_is_made_for():
    graph = read_graph(load_model(Path(zoo.__file__).parent / "char_gpt" / "gaincell.onnx"))
    codes, words = arithmetic.typical_codes(graph, 10, 0)
    assert words == "5 random-text samples" and codes.shape == (5, *graph.input.shape)
    assert (codes.sum(axis=-1) == 1).all()  # one character a place
    codes, words = arithmetic.typical_codes(digits(), 10, 0)
    assert words == "10 test-set samples" and len(codes) == 10


def test_of_a_model_without_a_test_set_they_are_random(tmp_path, monkeypatch):
    codes, words = arithmetic.typical_codes(read_graph(load_model(operator_file(tmp_path))), 10, 3)
    assert words == "10 random (seed 3) samples" and len(codes) == 10

    def absent(*_):
        raise ToolError("no scikit-learn")

    monkeypatch.setattr("hls4attn.host.samples.known_inputs", absent)
    codes, words = arithmetic.typical_codes(digits(), 10, 3)
    assert words == "10 random (seed 3) samples; no test set: no scikit-learn" and len(codes) == 10


def test_the_row_of_this_model_is_marked_among_the_recipes():
    graph = read_graph(load_model(Path(zoo.__file__).parent / "char_gpt" / "gaincell.onnx"))
    (table,) = [b for b in accuracy.accuracy_section(graph)[0].blocks if isinstance(b, Table)]
    assert [row[0] for row, tone in zip(table.rows, table.tones, strict=True) if tone == "good"] == ["gaincell"]
    assert table.note.startswith("This model is the one called gaincell.")
    assert table.columns[2].title == "mean loss, nats"


def test_times_are_at_the_clock_of_the_choices(folder):
    subject = find_subject(folder)
    flow, _ = open_flow(subject, Asked())
    for period, clock in ((10.0, "100 MHz"), (4.0, "250 MHz")):
        section, _ = estimated.estimate_section(replace(flow, config=replace(flow.config, clock_period_ns=period)), "")
        facts = dict(next(b for b in section.blocks if isinstance(b, Facts)).rows)
        cycles, time = re.match(r"([\d,]+) cycles; ([\d.,]+) us at", facts["Latency"]).groups()
        assert facts["Latency"].endswith(f"us at an assumed clock of {clock}") and clock in facts["Interval"]
        assert float(time) == pytest.approx(int(cycles.replace(",", "")) * period / 1000, abs=0.006)


def test_what_was_not_verified_says_so_at_the_top(tmp_path):
    content, _ = model_page(QUIET, QUIET, find_subject(operator_file(tmp_path)), Asked(samples=0))
    assert (content.tiles[0].label, content.tiles[0].value, content.tiles[0].tone) == ("Mismatches", "not verified", "")


def test_accuracy_is_that_of_the_test_set():
    section, (tile,) = accuracy.accuracy_section(digits())
    assert tile.value == "98.06%"
    (table,) = [b for b in section.blocks if isinstance(b, Table)]
    assert table.rows == (("consmax", "97.78%", "0.48%"),)


@pytest.mark.parametrize(("score", "sections"), [("consmax", ["ConSmax"]), ("sole", ["SOLE"]), ("softmax", [])])
def test_claims_are_those_of_the_operators(score, sections):
    tables = [b for b in claims.claims_section(digits(score)).blocks if isinstance(b, Table)]
    assert [t.title for t in tables] == sections
    for table in tables:
        assert len(table.rows) == len(SECTIONS[table.title.lower()]())


def test_synthesised_and_estimated_are_never_mixed():
    report = {
        "clock_mhz": {"requested": 100.0, "made": 100.0},
        "part": "xc7z020clg400-1",
        "tools": {"vivado": {"banner": "vivado v2024.1"}},
        "reports": {
            "hls": {"k": {"latency_max": None, "interval_max": 1234}},
            "utilization": {"lut": {"used": 21234, "available": 53200, "percent": 39.9}},
            "power": {"total_w": 1.9},
        },
    }
    section = synthesised.synthesis_section(report, "", digits())
    facts = dict(next(b for b in section.blocks if hasattr(b, "code")).rows)
    assert (
        facts["Tools"] == "vivado v2024.1" and facts["Part"] == "xc7z020clg400-1" and "not measured" in facts["Power"]
    )
    tables = {b.title: b for b in section.blocks if isinstance(b, Table)}
    assert tables["Utilisation of the whole overlay"].rows == (("lut", "21234", "53200", "39.9"),)
    assert tables["Kernels by high-level synthesis"].rows == (("k", "not known", "1,234"),)
    assert tables["Its operators alone, synthesised"].rows[0][1].startswith("Yosys")
    assert "nothing yet" in texts(synthesised.synthesis_section(None, "nothing yet", None))


def test_of_a_design_that_does_not_fit_the_tile_says_what_would(tmp_path):
    subject = find_subject(operator_file(tmp_path, "gaincell"))
    flow, chosen = open_flow(subject, Asked(board="pynq-z2"))
    _, tiles = estimated.estimate_section(flow, chosen)
    assert (tiles[1].value, tiles[1].tone) == ("no", "bad")
    assert "270 % DSP" in tiles[1].note and tiles[1].note.endswith("--io io_parallel --reuse 4 would fit")
    subject = find_subject(Path(zoo.__file__).parent / "char_gpt" / "gaincell.onnx")
    _, tiles = estimated.estimate_section(*open_flow(subject, Asked(board="pynq-z2")))
    assert "No choice fits; this fits kv260, zcu104" in tiles[1].note
    _, tiles = estimated.estimate_section(*open_flow(subject, Asked(board="zcu104")))
    assert tiles[1].value == "yes" and "would" not in tiles[1].note and "kernels alone" in tiles[1].note


def test_choices_without_an_option_are_in_a_file_of_their_own(folder):
    subject = find_subject(folder)
    flow, _ = open_flow(subject, Asked())
    odd = replace(flow.config, clock_period_ns=4.0, layer_reuse_factor={"score": 2})
    section = reproduce.of_model(subject, replace(flow, config=odd, made=None), None, 7)
    first, second, last = next(b for b in section.blocks if isinstance(b, Commands)).lines
    shell = ["sh", "-c", f"cd {folder.parent}; {first}; cat choices.toml"]
    text = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert text.stdout == 'clock_period_ns = 4.0\nlayer_reuse_factor = {"score" = 2}\n'
    read = HlsConfig.from_toml(folder.parent / "choices.toml", part=odd.part)
    assert read == odd and second.endswith("--config choices.toml")
    assert last == "hls4attn report op --samples 0 --seed 7"


def test_versions_that_differ_are_told_and_no_others(folder):
    made = find_subject(folder).made
    section = reproduce.reproduce_section([], [], replace(made, versions={**made.versions, "numpy": "0.9"}), None)
    facts = [dict(b.rows) for b in section.blocks if isinstance(b, Facts)]
    assert {"convert: numpy": "0.9"} in facts and "convert ran on" in texts(section)
    assert "convert ran on" not in texts(reproduce.reproduce_section([], [], made, None))


@pytest.mark.parametrize("change", [{"seconds": "x"}, {"stage": 1}, {"mismatches": None}])
def test_a_ladder_with_a_damaged_rung_is_refused(folder, change):
    _, flow, found = climbed(folder)
    broken = replace(found, rungs=[{**found.rungs[0], **change}]).to_json()
    with pytest.raises(ModelFileError, match="a rung is incomplete"):
        ladder.take(json.dumps(broken).encode(), folder, flow)


def test_a_record_of_a_build_is_checked(tmp_path):
    (tmp_path / "design.json").write_text("[]")
    with pytest.raises(ModelFileError, match=r"design.json is no design"):
        find_subject(tmp_path)
    (tmp_path / "design.json").write_text("{}")
    for content, said in (
        ({}, "no record of a build of version 1"),
        ({"kind": "hls4attn-build", "version": 2}, "no record of a build of version 1"),
        ({"kind": "hls4attn-build", "version": 1, "overlay": 3}, "overlay is damaged or missing"),
    ):
        (tmp_path / "build.json").write_text(json.dumps(content))
        with pytest.raises(ModelFileError, match=said):
            find_subject(tmp_path)


def test_another_model_in_a_build_is_refused(folder, tmp_path):
    subject = find_subject(folder)
    other = load_model(operator_file(tmp_path, "layernorm"))
    with pytest.raises(ModelFileError, match="the model in it is not the one that was built"):
        open_flow(replace(subject, kind="build", model=other), Asked())
    flow, _ = open_flow(replace(subject, kind="build"), Asked())
    assert flow.model_id == subject.made.model_id
