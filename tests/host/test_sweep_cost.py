# SPDX-License-Identifier: Apache-2.0
"""What a sweep costs beside its points, and a sweep whose workers are jobs of a batch system."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import command

from hls4attn.host.bench import sweep
from hls4attn.host.sweep.point import Result
from hls4attn.host.sweep.store import read_results
from hls4attn.models.errors import ToolError
from hls4attn.models.zoo import zoo_model

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_verb_measures_both_ways(capsys, monkeypatch, tmp_path):
    code, out, err = command(capsys, monkeypatch, "bench", "sweep", "--points", 40, "--json", tmp_path / "cost.json")
    assert code == 0, err
    own, inside = json.loads((tmp_path / "cost.json").read_text())
    assert (own["isolated"], inside["isolated"]) == (True, False)
    for run in (own, inside):
        assert (run["points"], run["workers"]) == (40, 2)
        assert run["ms_a_point"] == pytest.approx(1000 * run["seconds"] / 39) and 0 < run["ms_a_point"] < 500
        assert all(early > 50 and late > 50 for early, late in run["memory_mb"].values())
        assert f"{run['ms_a_point']:.2f}" in out


def test_a_number_of_points_out_of_range(capsys, monkeypatch):
    code, _, err = command(capsys, monkeypatch, "bench", "sweep", "--points", 9)
    assert code == 2 and "points must be 10 to 1,000,000. Received: 9" in err


def test_a_point_that_fails_is_no_measurement(monkeypatch):
    failed = Result("k", {}, "failed", {}, 0.0, "w", "no such thing", "")
    monkeypatch.setattr(sweep, "run_points", lambda points, **options: iter([failed]))
    with pytest.raises(ToolError, match="does nothing failed: no such thing"):
        sweep.measure(10, 1, isolated=False)


@pytest.mark.slow
def test_ten_thousand_points_without_growth():
    found = sweep.measure(10_000, 2, isolated=True)
    growth = {name: late - early for name, (early, late) in found.memory_mb.items()}
    assert all(size < 30 for size in growth.values()), growth


@pytest.mark.slow
def test_jobs_of_a_batch_system_as_workers(tmp_path):
    """The example itself; its job scripts run on this machine."""
    model = zoo_model("digits-vit").folder / "consmax.onnx"
    plan, results = tmp_path / "plan.toml", tmp_path / "results.sqlite"
    plan.write_text(
        '[sweep]\nsamples = 10\nstages = ["onnxruntime"]\n'
        f'[sweep.axes]\nmodel = {str(model)!r}\nboard = ["pynq-z2", "zcu104"]\n'
    )
    script = [str(ROOT / "examples" / "sweep_on_cluster.py"), str(plan), "--out", str(results)]
    options = ["--queue", "local", "--jobs", "1", "--scratch", str(tmp_path), "--json", str(tmp_path / "front.json")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, *script, *options], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    held = read_results(results)
    assert [r.status for r in held.results] == ["ok", "ok"] and (tmp_path / "front.json").is_file()
    assert all("LocalCluster" in r.worker for r in held.results), held.results
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert {r.settings["model_sha256"] for r in held.results} == {digest}


def test_the_example_asks_for_a_shared_cache(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "HLS4ATTN_CACHE"}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    script = [sys.executable, str(ROOT / "examples" / "sweep_on_cluster.py"), "p.toml", "--out", "x.sqlite"]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "HLS4ATTN_CACHE to a folder that all nodes share" in done.stderr
