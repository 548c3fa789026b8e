# SPDX-License-Identifier: Apache-2.0
import json
import math

import numpy as np
import pytest

from hls4attn.models.errors import InputError
from hls4attn.models.zoo.minilm import __main__ as command
from hls4attn.models.zoo.minilm import weights
from hls4attn.models.zoo.minilm.evidence import CONFIGURATIONS, draw, evidence
from hls4attn.models.zoo.minilm.metrics import agreement, ranks, spearman
from hls4attn.models.zoo.minilm.text import read_sentences, split_sentences
from tests.models.minilm_tiny import CONFIG, WordNumbers, prose, tensors


@pytest.fixture(scope="module")
def tiny():
    return weights.MiniLM(weights.encoder_from_tensors(CONFIG, tensors()), WordNumbers(), "0")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One two three four five. Six seven\neight nine ten!", 2),
        ("Dr. Smith met J. R. Jones in the U.S. Army camp.", 1),
        ("Too short here. A line without an end mark is not a sentence", 0),
        (" = A Heading Of Five Words = \n\nThis is the text below it .\n", 1),
        ("He left at once , said no word . Then <unk> came back to the house .", 1),
        ("word " * 41 + ".", 0),
        ('She asked , " Is that what you want ? " He said that it was not .', 2),
        ("It is 3.5 metres long and not more. It is 3.5 metres long and not more.", 1),
        ("Was it so? yes it was, all of the time.", 1),
        ("", 0),
    ],
)
def test_sentences(text, expected):
    assert len(split_sentences(text)) == expected


def test_corpus_marks_inside_words_are_undone():
    assert split_sentences("A well @-@ known sum of 1 @,@ 000 or 2 @.@ 5 .") == ["A well-known sum of 1,000 or 2.5 ."]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"No end", "no sentence"),
    ],
)
def test_unusable_files_are_one_line(tmp_path, capsys, content, says):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_sentences(path)
    with pytest.raises(SystemExit) as stop:
        command.main(["--sentences", str(path)])
    assert stop.value.code == InputError.exit_code
    assert capsys.readouterr().err.count("\n") == 1


def test_draw_separates_calibration_from_evaluation():
    found = [f"s{n}" for n in range(100)] * 2
    drawn = draw(found, 20, 80, 5)
    assert sorted(drawn) == sorted(set(found))
    assert drawn == draw(found, 20, 80, 5) != draw(found, 20, 80, 6)
    with pytest.raises(InputError, match="100 different sentences, 21 \\+ 80"):
        draw(found, 21, 80, 0)
    with pytest.raises(InputError, match="30 to evaluate"):
        draw(found, 5, 29, 0)


def test_ranks_and_rank_correlation():
    assert ranks([30, 10, 20, 20]).tolist() == [3, 0, 1.5, 1.5]
    # by hand: ranks 0 1 2 3 against 1 0 3 2 differ by 1 each, 1 - 6 * 4 / (4 * 15)
    assert spearman([1, 2, 3, 4], [20, 10, 40, 30]) == pytest.approx(0.6)
    assert spearman([1, 2, 3], [8, 4, 2]) == pytest.approx(-1)
    assert math.isnan(spearman([1, 1], [1, 2]))


def test_agreement_with_itself_and_with_others():
    e = np.random.default_rng(0).normal(size=(30, 8))
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    groups = np.array_split(np.arange(30), 3)
    same = agreement(e, e, groups)
    assert same.cosine == pytest.approx((1, 0)) and same.spearman == pytest.approx((1, 0))
    assert same.neighbour == (1, 0) and same.cosine_min == pytest.approx(1)
    assert agreement(-e, e, groups).cosine_p1 == pytest.approx(-1)
    assert agreement(-e, e, groups).spearman.mean == pytest.approx(1)  # similarities do not see the sign


def test_command_runs_every_configuration(tmp_path, monkeypatch, tiny, capsys):
    monkeypatch.setattr(command, "load_minilm", lambda: tiny)
    text, out = tmp_path / "text.txt", tmp_path / "out.json"
    text.write_text(prose(60))
    with pytest.raises(SystemExit) as stop:
        command.main(["--sentences", str(text), "--count", "30", "--calibration", "25", "--json", str(out)])
    assert not stop.value.code
    result = json.loads(out.read_text())
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == ["another sentence", *(c.name for c in CONFIGURATIONS)]
    assert result["evaluation"] == 30 and len(result["text_sha256"]) == 64
    assert rows["fp32"]["agreement"]["cosine_min"] == pytest.approx(1, abs=1e-6)
    cosine = {name: row["agreement"]["cosine"]["mean"] for name, row in rows.items()}
    assert cosine["another sentence"] < cosine["SOLE"] < cosine["integer both"] < 1
    assert rows["E2Softmax"]["row_sums"] and not rows["E2Softmax"]["std_error"]
    assert rows["AILayerNorm"]["std_error"] and not rows["AILayerNorm"]["row_sums"]
    printed = capsys.readouterr().out
    assert all(c.name in printed for c in CONFIGURATIONS)


def test_same_seed_same_rows(tiny):
    sentences = split_sentences(prose(60))
    progress = []
    first = evidence(sentences, 25, 30, 3, lambda *state: progress.append(state), tiny)
    assert first == evidence(sentences, 25, 30, 3, model=tiny)
    assert progress == [(c.name, n, len(CONFIGURATIONS)) for n, c in enumerate(CONFIGURATIONS)]
