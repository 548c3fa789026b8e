# SPDX-License-Identifier: Apache-2.0
"""`hls4attn bench attention`, and what every verb does with wrong usage."""

import inspect
import json
import os
import re
from pathlib import Path

import pytest
from command_line import command
from typer.main import get_command
from typer.testing import CliRunner

from hls4attn.host import cli
from hls4attn.host.bench.attention import Growth, fresh_cache, parse_lengths
from hls4attn.host.cli import app, options
from hls4attn.models.errors import InputError
from hls4attn.models.zoo import zoo_model

MODEL = zoo_model("digits-vit").folder / "consmax.onnx"


@pytest.mark.compile
def test_growth_of_an_attention(capsys, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    target, chart = tmp_path / "out.json", tmp_path / "out.svg"
    code, out, err = command(
        capsys, monkeypatch, "bench", "attention", "--lengths", "12,16", "--head-dim", 4, "--heads", 2, "--lanes", 2,
        "--json", target, "--chart", chart,
    )  # fmt: skip
    assert (code, err) == (0, "")
    values = json.loads(target.read_text())
    assert (values["score"], values["heads"], values["head_dim"], values["lanes"]) == ("consmax", 2, 4, 2)
    for row, length in zip(values["rows"], (12, 16), strict=True):
        assert row["length"] == length
        assert row["cycles"] == 2 * length * (length // 2)
        assert row["bank_bits"] == 2 * 2 * length * 2 * 4 * 8
        assert row["fifo_words"] == length + 2 + 2  # q, scores, probabilities
        assert row["mismatches"] == 0
        assert row["results"] % (length * 8) == 0
        assert row["compile_seconds"] > 0
        assert row["scores_per_second"] > 0
        assert f"0/{row['results']}" in out
    assert chart.read_bytes().startswith(b"<?xml")


@pytest.mark.compile
@pytest.mark.parametrize("score", ["softmax", "e2softmax", "e2softmax-online", "e2context"])
def test_every_score_function_is_measured(capsys, monkeypatch, tmp_path, score):
    target = tmp_path / "out.json"
    code, _, err = command(
        capsys, monkeypatch, "bench", "attention", "--lengths", "24", "--head-dim", 3, "--score", score,
        "--lanes", 3, "--json", target,
    )  # fmt: skip
    assert (code, err) == (0, "")
    (row,) = json.loads(target.read_text())["rows"]
    assert (row["cycles"], row["mismatches"]) == (24 * 8, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--lengths", "16,many"), ("16,many",)),
        (("--lengths", "0"), ("1 to 4096",)),
        (("--score", "relu"), ("relu", "consmax")),
        (("--lanes", "17"), ("lanes", "16")),
        (("--heads", "0"), ("heads",)),
        (("--head-dim", "4096"), ("head-dim",)),
        (("--chart", "plot.gif"), ("plot.gif", ".png")),
        (("--score", "e2softmax", "--lengths", "2048"), ("1024",)),
        (("--lengths", "4096", "--heads", "64", "--head-dim", "1024"), ("524288 bits", "4096")),
        (("--lengths", "16,4096", "--heads", "8"), ("134,217,728 scores", "67,108,864")),
        (("--lengths", "600", "--lanes", "600", "--head-dim", "1"), ("600 tokens", "scores", "4800", "at most 4096")),
        (("--lengths", "16", "--lanes", "16", "--head-dim", "512"), ("products unrolled", "8192", "at most 4096")),
    ],
)
def test_one_readable_line_for_a_wrong_bench(capsys, monkeypatch, arguments, words):
    code, _, err = command(capsys, monkeypatch, "bench", "attention", *arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    for word in words:
        assert word in err


def test_options_of_the_wrong_verb(capsys, monkeypatch, tmp_path):
    code, _, err = command(capsys, monkeypatch, "bench", "--json", tmp_path / "out.json", "attention")
    assert code == 2
    assert "--json" in err


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_what_is_measured_outlasts_what_is_not(capsys, monkeypatch, tmp_path, stop):
    """Rows are printed as they finish; files hold the finished ones."""
    pytest.importorskip("matplotlib")
    target, chart = tmp_path / "out.json", tmp_path / "out.SVG"

    def measured(spec, node):
        if node.ints["rows"] == 32:
            assert "\n    16 " in capsys.readouterr().out  # printed before the next one is begun
            raise stop
        return Growth(node.ints["rows"], 256, 300, 16384, 20, 0, 128, 1.5, 0.25, 10**6, 0, 512)

    monkeypatch.setattr("hls4attn.host.bench.attention.measure", measured)
    code, _, err = command(
        capsys, monkeypatch, "bench", "attention", "--lengths", "16,32,64", "--json", target, "--chart", chart
    )
    assert code == (130 if stop is KeyboardInterrupt else 2)
    assert len(err.strip().splitlines()) == 1
    assert ("interrupted" if stop is KeyboardInterrupt else "error: out of memory") in err
    assert [row["length"] for row in json.loads(target.read_text())["rows"]] == [16]
    assert chart.read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("estimate", "--reuse", "nan", MODEL), ("--reuse", "integer")),
        (("estimate", "--resue", "4", MODEL), ("--resue",)),
        (("estimat", MODEL), ("estimat",)),
        (("estimate",), ("model",)),
        (("bench", "attention", "--heads", "1.5"), ("--heads",)),
    ],
)
def test_one_readable_line_for_wrong_usage(capsys, monkeypatch, arguments, words):
    code, out, err = command(capsys, monkeypatch, *arguments)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("error: ")
    for word in words:
        assert word in err


@pytest.mark.parametrize(("arguments", "expected"), [((), 2), (("--help",), 0), (("estimate", "--help"), 0)])
def test_help_is_no_error(capsys, monkeypatch, arguments, expected):
    code, out, err = command(capsys, monkeypatch, *arguments)
    assert (code, err) == (expected, "")
    assert "Usage:" in out


def _commands(command, *names):
    yield names, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, *names, name)


def test_help_shows_what_was_written_for_it():
    """Rich takes [words] in a help text for markup, and drops them: a default stands in `show_default`."""
    found = 0
    for names, one in _commands(get_command(app)):
        shown = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"}).output
        for parameter in one.params:
            text = getattr(parameter, "help", None) or ""
            assert text in shown, (names, parameter.name)
            found += bool(text)
    assert found > 100


def test_version_and_options_that_stand_before_the_verb(capsys, monkeypatch):
    code, out, err = command(capsys, monkeypatch, "--version")
    assert (code, err) == (0, "")
    assert re.match(r"hls4attn (\d+\.\d+|of unknown version)", out)
    code, _, err = command(capsys, monkeypatch, "verify", MODEL, "--debug")
    assert code == 2
    assert "No such option: --debug; it stands before the verb: hls4attn --debug ..." in err


@pytest.mark.parametrize("verb", ["convert", "verify", "run", "estimate"])
def test_the_same_structure_options_everywhere(capsys, monkeypatch, verb):
    """They are read (each refuses a value of its own), and their help is the same."""
    shown = {}
    for option, wrong in (("--io", "io_serial"), ("--reuse", 0), ("--lanes", -1), ("--parallel-heads", 0)):
        rest = () if option == "--io" else ("--io", "io_stream")
        code, _, err = command(capsys, monkeypatch, verb, MODEL, option, wrong, *rest)
        assert code == 2
        assert str(wrong) in err
        names = {"--io": "io", "--reuse": "reuse", "--lanes": "lanes", "--parallel-heads": "parallel_heads"}
        found = inspect.get_annotations(getattr(cli, verb), eval_str=True)[names[option]]
        shown[option] = found == {"--io": options.IoType, "--reuse": options.Reuse, "--lanes": options.Lanes}.get(
            option, options.ParallelHeads
        )
    assert all(shown.values())


def test_an_unwritable_cache_is_named(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path / "file" / "cache"))
    code, _, err = command(capsys, monkeypatch, "verify", MODEL, "--samples", 1, "--stages", "csim")
    assert code in (2, 3)
    assert "HLS4ATTN_CACHE" in err
    assert "--out" not in err
    code, _, err = command(capsys, monkeypatch, "convert", MODEL, "--out", tmp_path / "file" / "project")
    assert code == 2
    assert "HLS4ATTN_CACHE" not in err


def test_lengths():
    assert parse_lengths("16, 64") == [16, 64]
    for text in ("", "1.5", "-3", "4097", "16,,64"):
        with pytest.raises(InputError, match="engths"):
            parse_lengths(text)


def test_the_environment_is_as_it_was(monkeypatch):
    for before in (None, "/nowhere"):
        if before is None:
            monkeypatch.delenv("HLS4ATTN_CACHE", raising=False)
        else:
            monkeypatch.setenv("HLS4ATTN_CACHE", before)
        with fresh_cache():
            inside = Path(os.environ["HLS4ATTN_CACHE"])
            assert list(inside.iterdir()) == []
        assert os.environ.get("HLS4ATTN_CACHE") == before
        assert not inside.exists()
