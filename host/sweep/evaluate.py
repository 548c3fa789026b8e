# SPDX-License-Identifier: Apache-2.0
"""Evaluation of one point of a sweep: quantise, convert, verify, estimate, measure, synthesise."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.estimate import estimate
from hls4attn.hls.fit import fit
from hls4attn.hls.hwfile import lower_design
from hls4attn.host.estimate import capacity
from hls4attn.host.flow import Flow
from hls4attn.host.installed import load_installed
from hls4attn.host.ladder import climb
from hls4attn.host.pynq_compat import import_pynq
from hls4attn.host.samples import verification_codes
from hls4attn.host.sweep.locks import one_at_a_time
from hls4attn.host.sweep.point import OPERATORS
from hls4attn.host.sweep.quality import quality
from hls4attn.host.sweep.sources import board_digest, operators_digest
from hls4attn.host.sweep.subject import Subject, subject
from hls4attn.host.sweep.synthesis import synthesis
from hls4attn.models.errors import InputError, MismatchError, ToolError
from hls4attn.overlays.boards import board as find_board
from hls4attn.overlays.boards import use_boards

#: Part of every point's key: to be raised whenever the same settings give other metrics.
EVALUATOR = "3"
#: Compared if the plan names no stages: each in seconds, from three makers.
STAGES = ("onnxruntime", "csim", "board")
#: What an evaluation may import late; no TensorFlow, which does not survive a fork.
_LATE = (
    "hls4attn.hls.project",
    "hls4attn.hls.csim",
    "hls4attn.hls.axis",
    "hls4attn.hls.stream.network",
    "hls4attn.hls.handlers",
    "hls4attn.hls.layers",
    "hls4attn.hls.templates",
    "hls4attn.hls.guard",
    "hls4attn.models.zoo",
    "hls4attn.host.driver",
    "hls4attn.host.emulated_device",
    "onnxruntime",
    "sklearn.datasets",
    "sklearn.model_selection",
)
_HARDWARE = ("backend", "io_type", "clock_period_ns", "lanes", "parallel_heads")


def prepare() -> None:
    """Import what evaluations need, in the process that they are forked from."""
    for name in _LATE:
        importlib.import_module(name)
    load_installed()
    operators_digest()  # of what was imported: files may change as long as this process lives


def evaluate(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate one point.

    Args:
        settings: as `hls4attn.host.sweep.point.Point` has them.

    Returns:
        Metrics as plain values; what is absent is None, with the reason in ``why``.

    Raises:
        MismatchError: if a stage differs from the integer reference; ``metrics`` of the error has what was found.
        Hls4attnError: for whatever the other verbs refuse.
    """
    _boards(settings)
    _operators(settings)
    model = subject(settings)
    print(f"model: {_spent()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hls4attn-project-") as folder:
        flow = _flow(settings, model, Path(folder) / "project")
        metrics: dict[str, Any] = {"model_id": flow.model_id, "why": {}}
        metrics |= _estimated(flow)
        metrics |= quality(flow.graph, model.twin, metrics["why"])
        _verify(flow, settings, metrics)
        metrics |= synthesis(flow, settings, metrics["why"])
    print(f"all: {_spent()}", flush=True)
    return metrics


def _spent() -> str:
    """Time of processors that this process and its finished children took so far."""
    return f"{sum(os.times()[:4]):.1f} s of processor time"


def _boards(settings: Mapping[str, Any]) -> None:
    """Let the board be known here, and the same as where the sweep was planned."""
    use_boards(Path(settings["boards"]) if settings.get("boards") else None)
    found = find_board(settings["board"])
    wanted = settings.get("board_sha256")
    if wanted is not None and board_digest(found) != wanted:
        raise InputError(
            f"The board {found.name} is described otherwise on the worker than in the plan: share the file of "
            "HLS4ATTN_BOARDS, or install the same version"
        )


def _operators(settings: Mapping[str, Any]) -> None:
    """Refuse operators of installed packages that are others than where the sweep was planned."""
    if operators_digest() != settings.get(OPERATORS):
        raise InputError(
            "Installed packages with operators differ between the worker and the plan: install the same ones on both, "
            "and start the workers anew"
        )


def _flow(settings: Mapping[str, Any], model: Subject, folder: Path) -> Flow:
    fitted = settings["reuse_factor"] == "fit"
    choices = {name: settings[name] for name in _HARDWARE}
    if not fitted:
        choices["reuse_factor"] = settings["reuse_factor"]
    if fitted and settings["io_type"] != "io_stream":
        raise InputError("reuse_factor = 'fit' is for io_stream; give io_parallel a number")
    config = HlsConfig(part=find_board(settings["board"]).part, **choices)
    flow = Flow.open(
        model.onnx, folder=folder, keras=model.keras, board=settings["board"], config=config, fitted=fitted
    )
    _ = flow.settings
    return flow


def _estimated(flow: Flow) -> dict[str, Any]:
    """Cycles and resources of the design, before any synthesis."""
    config = flow.settings
    found = estimate(lower_design(flow.graph, config), config)
    on_board = fit(found.resources, capacity(find_board(flow.board)))
    metrics: dict[str, Any] = {
        "reuse_factor": config.reuse_factor,
        "latency_cycles": found.latency,
        "interval_cycles": found.interval,
        "multipliers": found.resources.multiplier_count,
        **on_board.used,
        **{f"{kind}_percent": share for kind, share in on_board.percent.items()},
        "fits": on_board.fits and not found.limits,
        "limits": [str(limit) for limit in found.limits],
    }
    return metrics


def _verify(flow: Flow, settings: Mapping[str, Any], metrics: dict[str, Any]) -> None:
    """Climb the ladder; the C simulation is compiled once for all points that share it."""
    names = settings.get("stages")
    if names is None:
        names = _usual_stages(metrics["why"])
    if not names:
        raise InputError("A point is verified with at least one stage, and there is no stage; leave stages out")
    codes, described = verification_codes(flow.graph, settings["samples"], settings["seed"])
    print(f"verifying on {described}", flush=True)
    if {"csim", "board"} & set(names):
        with without_keras():
            _ = flow.project
        print(f"project: {_spent()}", flush=True)
        config = flow.settings
        shared = (
            flow.model_id,
            config.io_type,
            config.backend,
            config.reuse_factor,
            config.lanes,
            config.parallel_heads,
        )
        with one_at_a_time(f"compile {shared}"):
            _ = flow.csim
        print(f"C simulation: {_spent()}", flush=True)
    rungs = []
    for rung in climb(flow.graph, {name: partial(flow.stage, name) for name in names}, codes):
        print(f"{rung.stage}: {rung.mismatches}/{rung.samples} mismatches, {rung.seconds:.1f} s", flush=True)
        rungs.append(rung)
    wrong = [rung for rung in rungs if rung.mismatches]
    metrics |= {
        "samples": max(rung.samples for rung in rungs),
        "mismatches": sum(rung.mismatches for rung in rungs),
        "stages": [rung.to_json() for rung in rungs],
    }
    if wrong:
        first = wrong[0]
        error = MismatchError(f"{first.stage}: {first.mismatches}/{first.samples} mismatches, {first.difference}")
        error.metrics = metrics  # type: ignore[attr-defined]
        raise error


def _usual_stages(why: dict[str, str]) -> list[str]:
    """`STAGES`, without the board where PYNQ is missing.  Asking the flow would import TensorFlow."""
    try:
        import_pynq()
    except ToolError as error:
        why["stage board"] = str(error)
        return [name for name in STAGES if name != "board"]
    return list(STAGES)


@contextmanager
def without_keras() -> Iterator[None]:
    """hls4ml writes down Keras models if there are any, and imports TensorFlow for it: seconds, and there are none."""
    hidden = [name for name in ("keras", "tensorflow") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
