# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a point: its figures, what it shares with others, and what it refuses."""

import hashlib
import json
import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hls4attn.host.sweep import evaluate as module
from hls4attn.host.sweep import subject as subjects
from hls4attn.host.sweep import synthesis as syntheses
from hls4attn.host.sweep.evaluate import evaluate
from hls4attn.host.sweep.locks import one_at_a_time
from hls4attn.host.sweep.point import METRICS
from hls4attn.models.errors import Hls4attnError, InputError, MismatchError, ToolError
from hls4attn.models.zoo import zoo_model
from hls4attn.overlays.boards import board
from tests.fake_vivado.workshop import Workshop

ZOO = zoo_model("digits-vit").folder
FLOAT = {"calibration": "digits-vit", "score": "e2softmax", "norm": "ailayernorm", "weight_bits": 8,
         "activation_bits": 8, "bias_bits": 12, "residual_bits": 12}  # fmt: skip


def settings(model: Path = ZOO / "consmax.onnx", **changes: Any) -> dict[str, Any]:
    """Those of a point of a plan, of a model that is quantised already."""
    point: dict[str, Any] = {
        "model": str(model), "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        **dict.fromkeys(("calibration", "calibration_sha256", *subjects.PLAN)),
        "backend": "Vitis", "io_type": "io_stream", "reuse_factor": "fit", "lanes": 0, "parallel_heads": 1,
        "board": "pynq-z2", "clock_period_ns": 10.0, "samples": 20, "seed": 0, "stages": ["onnxruntime"],
        "synthesise": None, "boards": None,
    }  # fmt: skip
    assert set(changes) <= {*point, "board_sha256", "operators_sha256"}
    return point | changes


def test_figures_of_a_point() -> None:
    found = evaluate(settings())
    assert found["accuracy"] == json.loads((ZOO / "consmax.json").read_text())["accuracies"][0] >= 0.95
    assert (found["samples"], found["mismatches"], found["test_samples"]) == (20, 0, 360)
    assert found["fits"] and found["reuse_factor"] > 1 and found["interval_cycles"] <= found["latency_cycles"]
    assert [stage["stage"] for stage in found["stages"]] == ["onnxruntime"]
    assert found["float_rms"] is None and "no float model" in found["why"]["float_rms"]
    assert {n for n in METRICS if found.get(n) is None} == {n for n in METRICS if n.startswith(("synth", "float"))}
    assert json.loads(json.dumps(found)) == found


def test_figures_follow_the_settings() -> None:
    small = evaluate(settings(reuse_factor=16, lanes=1))
    large = evaluate(settings(reuse_factor=2, lanes=4))
    other = evaluate(settings(reuse_factor=2, lanes=4, board="zcu104"))
    assert small["interval_cycles"] > large["interval_cycles"] and small["dsp"] < large["dsp"]
    assert (small["fits"], large["fits"], other["fits"]) == (True, False, True)
    assert large["dsp_percent"] > 100 > other["dsp_percent"]
    assert small["accuracy"] == large["accuracy"] == other["accuracy"]


@pytest.mark.compile
def test_the_usual_stages_are_three_and_leave_nothing_but_a_simulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow is not imported, and the second point compiles nothing: it differs in its board alone."""
    pytest.importorskip("pynq")
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))
    code = (
        f"import sys, json; sys.path[:] = {sys.path!r}\n"
        "from hls4attn.host.sweep.evaluate import evaluate\n"
        "found = evaluate(json.loads(sys.argv[1]))\n"
        "print(json.dumps([[s['stage'] for s in found['stages']], 'tensorflow' in sys.modules]))\n"
    )
    seen = []
    for name in ("pynq-z2", "zcu104"):
        point = json.dumps(settings(stages=None, reuse_factor=4, lanes=1, board=name))
        done = subprocess.run([sys.executable, "-c", code, point], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout.splitlines()[-1]) == [["onnxruntime", "csim", "board"], False]
        seen.append(sorted((f.name, f.stat().st_mtime_ns) for f in (tmp_path / "csim").iterdir()))
        assert not (tmp_path / "projects").exists()
    assert seen[0] == seen[1] and len(seen[0]) == 1


def test_a_mismatch_is_an_error_with_the_difference_and_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    from hls4attn.models.export.stages import OnnxRuntimeStage

    right = OnnxRuntimeStage.run
    monkeypatch.setattr(OnnxRuntimeStage, "run", lambda self, codes: right(self, codes) + (np.arange(len(codes)) == 3)[:, None])  # noqa: E501  # fmt: skip
    with pytest.raises(MismatchError, match=r"onnxruntime: 1/20 mismatches, first at sample 3, tensor") as caught:
        evaluate(settings())
    metrics = caught.value.metrics  # type: ignore[attr-defined]
    assert metrics["mismatches"] == 1 and metrics["accuracy"] > 0.9 and metrics["dsp"] > 0


@pytest.mark.slow
def test_a_float_model_is_quantised_once_for_all_its_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("qkeras")
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))
    first = evaluate(settings(ZOO / "float.keras", **FLOAT))
    assert 0.9 < first["accuracy"] <= 1 and 0.9 < first["float_accuracy"] <= 1 and 0.9 < first["float_agreement"] < 1
    assert 0 < first["float_rms"] < first["float_max"]

    def never(*args: object) -> None:
        raise AssertionError("quantised again")

    monkeypatch.setattr(subjects, "_quantise", never)
    second = evaluate(settings(ZOO / "float.keras", **FLOAT, board="zcu104", reuse_factor=1))
    assert second["model_id"] == first["model_id"] and second["accuracy"] == first["accuracy"]
    with pytest.raises(AssertionError, match="quantised again"):
        evaluate(settings(ZOO / "float.keras", **FLOAT | {"weight_bits": 6}))


@pytest.mark.slow
def test_the_keras_model_of_a_quantised_point_is_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))
    found = evaluate(settings(ZOO / "float.keras", **FLOAT, stages=["keras", "onnxruntime"]))
    assert [(s["stage"], s["mismatches"]) for s in found["stages"]] == [("keras", 0), ("onnxruntime", 0)]


@pytest.mark.slow
def test_quantisation_that_fails_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("qkeras")
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))

    def fails(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(subjects, "write_arrays", fails)  # the last but one of the files
    with pytest.raises(ToolError, match="No space left on device; set HLS4ATTN_CACHE"):
        evaluate(settings(ZOO / "float.keras", **FLOAT))
    assert list((tmp_path / "sweep" / "models").iterdir()) == []


def test_what_a_killed_quantisation_left_goes_with_the_next(tmp_path: Path) -> None:
    """The cache would grow by a folder for every point whose time was over."""
    kept = tmp_path / "models" / "abc"
    for name in (".abc.building-1", ".abd.building-1"):
        (kept.parent / name).mkdir(parents=True)
        (kept.parent / name / "model.onnx").write_text("half of it")
    with subjects._built(kept) as folder:
        (folder / "model.onnx").write_text("all of it")
        assert not kept.exists()
    assert sorted(p.name for p in kept.parent.iterdir()) == [".abd.building-1", "abc"]
    assert (kept / "model.onnx").read_text() == "all of it"


def test_a_file_that_is_missing_or_another_on_the_worker(tmp_path: Path) -> None:
    copy = tmp_path / "model.onnx"
    copy.write_bytes((ZOO / "consmax.onnx").read_bytes())
    point = settings(copy)
    copy.write_bytes((ZOO / "softmax.onnx").read_bytes())
    with pytest.raises(InputError, match=r"another file on the worker .* than in the plan .*folder that they share"):
        evaluate(point)
    copy.unlink()
    with pytest.raises(InputError, match=r"cannot read the model .*model.onnx: No such file.*folder that they share"):
        evaluate(point)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"board": "arty"}, "Unknown board"),
        ({"board_sha256": "0" * 64}, "described otherwise on the worker"),
        ({"operators_sha256": "0" * 64}, "operators differ between the worker and the plan"),
        ({"io_type": "io_parallel"}, "'fit' is for io_stream"),
        ({"stages": ["nothing"]}, "Unknown stage"),
        ({"stages": []}, "no stage"),
        ({"synthesise": "quartus"}, "synthesise must be one of yosys, vivado"),
        ({"parallel_heads": 3}, "heads"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Hls4attnError, match=words):
        evaluate(settings(**changes))


def test_a_board_that_is_the_same_is_taken() -> None:
    text = json.dumps(board("pynq-z2").to_dict(), sort_keys=True)
    assert evaluate(settings(board_sha256=hashlib.sha256(text.encode()).hexdigest()))["mismatches"] == 0


def test_synthesis_without_a_tool_or_without_rtl_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = evaluate(settings(synthesise="vivado"))
    assert found["synth_dsp"] is None and found["why"]["synthesis"] == "Vivado is not on PATH of the worker"
    monkeypatch.setattr(syntheses, "_missing_tool", lambda tool: None)
    found = evaluate(settings(synthesise="yosys", io_type="io_parallel", reuse_factor=1))
    assert found["synth_lut"] is None and found["why"]["synthesis"] == "there is RTL of io_stream designs only"


def test_synthesis_takes_the_design_of_the_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from hls4attn.hls.rtl import synth

    made: list[Any] = []

    def resources(unit: Any) -> synth.Resources:
        made.append(unit)
        return synth.Resources(10, 2, 30, 4, 5, "Yosys 0.70")

    monkeypatch.setattr(syntheses, "_missing_tool", lambda tool: None)
    monkeypatch.setattr(synth, "resources", resources)
    found = evaluate(settings(synthesise="yosys", reuse_factor=16, lanes=1))
    figures = {name: found[f"synth_{name}"] for name in ("lut", "ff", "dsp", "bram36", "tool")}
    assert figures == {"lut": 12, "ff": 30, "dsp": 4, "bram36": 2.5, "tool": "Yosys 0.70, for 7-series parts"}
    assert found["synth_design"] == "1 head at a time, reuse factor 16" and len(made) == 1


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """A model that only turns its input, which is synthesised in seconds."""
    from hls4attn.models.export.builder import GraphBuilder, save_model
    from hls4attn.models.formats import Fixed

    b = GraphBuilder("turned")
    x = b.quant(b.input("input", (6, 8)), Fixed(8, 4), "values", (6, 8))
    save_model(b.model(["input"], [b.transpose(x, (1, 0), "turned")], {}), tmp_path / "turned.onnx")
    return tmp_path / "turned.onnx"


@pytest.mark.slow
def test_a_synthesis_by_yosys(turned: Path) -> None:
    found = evaluate(settings(turned, synthesise="yosys"))
    assert found["synth_lut"] > 0 and found["synth_tool"].startswith("Yosys"), found["why"]
    assert found["synth_mhz"] is None and found["why"]["synth_mhz"] == "Yosys does no timing"


def test_a_synthesis_by_vivado(turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake one, for the clock of the point."""
    workshop = Workshop(tmp_path, monkeypatch, ("vivado",))
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path / "cache"))
    play = {"release": "2024.1", "writes": {"unit": ["utilization.rpt", "timing.rpt"]}}
    workshop.play.write_text(json.dumps(play))
    found = evaluate(settings(turned, synthesise="vivado", clock_period_ns=4.0))
    figures = [found[f"synth_{name}"] for name in ("lut", "ff", "dsp", "bram36", "tool")]
    assert figures == [21234, 18000, 120, 34.5, "Vivado 2024.1"]
    assert found["synth_mhz"] == pytest.approx(1000 / (4 - 0.412))
    workshop.play.write_text(json.dumps(play | {"fault": ["unit", "licence"]}))
    with pytest.raises(ToolError, match="A valid license was not found"):
        evaluate(settings(turned, synthesise="vivado", clock_period_ns=5.0))


def _hold(what: str, both: Any, seconds: float, met: Any) -> None:
    with one_at_a_time(what):
        try:
            both.wait(seconds)
        except threading.BrokenBarrierError:
            return
    with met.get_lock():
        met.value += 1


@pytest.mark.parametrize(("names", "seconds", "found"), [(("same", "same"), 0.3, 0), (("one", "other"), 30.0, 2)])
def test_locks_hold_between_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str], seconds: float, found: int
) -> None:
    """Two processes that wait for each other inside: they meet if, and only if, the things are different."""
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))
    context = multiprocessing.get_context("fork")
    both, met = context.Barrier(2), context.Value("i", 0)
    processes = [context.Process(target=_hold, args=(name, both, seconds, met)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert met.value == found


def test_a_cache_that_takes_no_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sweep").write_text("a file where a folder belongs")
    monkeypatch.setenv("HLS4ATTN_CACHE", str(tmp_path))
    with pytest.raises(ToolError, match="Cannot lock .* set HLS4ATTN_CACHE"), one_at_a_time("anything"):
        pass


def test_the_preloaded_modules_are_there() -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from hls4attn.host.sweep.work import preload\n"
        f"preload({module.__name__ + ':evaluate'!r})\n"
        "import threading; print('tensorflow' in sys.modules, threading.active_count())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "1"]
