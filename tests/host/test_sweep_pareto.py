# SPDX-License-Identifier: Apache-2.0
"""The Pareto front against its definition, and what is shown of it."""

import io
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sweep_results import RESULTS, result

from hls4attn.host.sweep.pareto import front, incomplete, parse_objectives
from hls4attn.host.sweep.show import as_dict, print_front, varying

THREE = parse_objectives(["accuracy:max", "interval_cycles:min", "dsp:min"])
NAMES = [o.metric for o in THREE]
VALUES = st.none() | st.sampled_from([float("nan"), True, "text"]) | st.integers(0, 4) | st.sampled_from([0.5, 1.5])


def brute(results, objectives):
    """By definition: nobody is at least as good everywhere and better somewhere."""

    def vector(r):
        values = [r.metrics[o.metric] for o in objectives]
        if any(isinstance(v, bool | str | None) or np.isnan(v) for v in values):
            return None
        return [v if o.direction == "min" else -v for v, o in zip(values, objectives, strict=True)]

    good = [r for r in results if r.status == "ok" and r.metrics["mismatches"] == 0 and r.metrics["fits"]]
    known = [(r.key, v) for r in good if (v := vector(r)) is not None]
    return {
        key
        for key, mine in known
        if not any(w != mine and all(a <= b for a, b in zip(w, mine, strict=True)) for _, w in known)
    }


@given(st.lists(st.tuples(VALUES, VALUES, VALUES, st.integers(0, 9)), max_size=24), st.integers(1, 3))
def test_front_is_that_of_its_definition(rows, count):
    results = [
        result(
            i,
            "failed" if kind == 0 else "ok",
            mismatches=int(kind == 1),
            fits=kind != 2,
            **dict(zip(NAMES, values, strict=True)),
        )
        for i, (*values, kind) in enumerate(rows)
    ]
    objectives = THREE[:count]
    found = front(results, objectives)
    assert {r.key for r in found} == brute(results, objectives)
    assert len(found) == len({r.key for r in found})
    firsts = [r.metrics[NAMES[0]] for r in found]
    assert firsts == sorted(firsts, reverse=True)


@pytest.mark.parametrize("flat", [False, True], ids=["few on the front", "all on the front"])
def test_10000_points_in_a_second(flat):
    rng = np.random.default_rng(0)
    x = rng.random((10_000, 3))
    if flat:
        x[:, 2] = 2 - x[:, 0] - x[:, 1]
    results = [result(i, accuracy=-a, interval_cycles=b, dsp=c) for i, (a, b, c) in enumerate(x.tolist())]
    start = time.process_time()
    found = front(results, THREE)
    assert time.process_time() - start < 1
    assert (len(found) == 10_000) is flat


def test_only_what_could_be_built_is_on_the_front():
    results = [
        result(0, accuracy=0.5),
        result(1, accuracy=0.9, mismatches=3),
        result(2, accuracy=0.9, mismatches=None),
        result(3, accuracy=0.8, fits=False),
        result(4, accuracy=0.8, fits=None),
        result(5, "timeout"),
    ]
    assert front(results, THREE[:1]) == [results[0]]
    assert front(results, THREE[:1], only_fitting=False) == [results[3], results[4]]


def test_missing_values_are_named_and_dominate_nobody():
    results = [result(0), result(1, accuracy=None, dsp=0, why={"accuracy": "no labels"}), result(2, dsp=5)]
    assert front(results, THREE) == [results[0]]
    assert incomplete(results, THREE) == [(results[1], ["accuracy"])]


def printed(*arguments):
    stream = io.StringIO()
    print_front(Console(file=stream, width=200), *arguments)
    return stream.getvalue()


def test_table():
    assert varying([r.settings for r in RESULTS]) == ["model", "score", "weight_bits"]
    text = printed(RESULTS, THREE)
    lines = text.splitlines()
    assert lines[0].strip() == "Pareto front of 7 points: accuracy:max, interval_cycles:min, dsp:min"
    assert lines[1].split("  ")[0] == "model"
    assert "seed" not in text
    assert [line.split()[:4] for line in lines[2:4]] == [
        ["0.onnx", "softmax", "8", "95.00%"],
        ["1.onnx", "e2softmax", "4", "90.00%"],
    ]
    assert "1 that do not fit their board" in text
    assert "1 without accuracy: not on the front (no labels)" in text
    assert "1 timeout: no such thing" in text
    assert "no point is on the Pareto front" in printed(RESULTS[3:5], THREE)
    assert "1 with mismatches, or not verified" in printed([result(0, mismatches=2)], THREE)


def test_json():
    found = json.loads(json.dumps(as_dict({"plan_file": "p.toml", "points": 7}, RESULTS, THREE, True)))
    assert [r["metrics"]["accuracy"] for r in found["front"]] == [0.95, 0.9]
    assert found["finished"] == {"ok": 5, "failed": 1, "timeout": 1, "lost": 0}
    assert found["not_compared"] == [{"key": RESULTS[6].key, "without": ["accuracy"]}]
    assert [f["error"] for f in found["failures"]] == ["no such thing"] * 2
