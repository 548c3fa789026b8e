# SPDX-License-Identifier: Apache-2.0
"""One configuration of a sweep, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: How a point can end: evaluated; an exception or a mismatch; too slow; its worker died too often.
STATUSES = ("ok", "failed", "timeout", "lost")

#: The longest time that a point may be given, in s.
MAX_TIMEOUT_S = 30 * 86400.0

#: What points can take of the resources that all share.
RESOURCES = ("vivado",)

#: Files stand in a point's key by their content (``NAME_sha256``), so that a moved folder is no new point.
FILES = ("model", "calibration")

#: Setting with the hash of installed packages with operators; absent where there are none.
OPERATORS = "operators_sha256"

#: Number metrics that objectives can be made of, and their units ("" is a plain number).
METRICS: Mapping[str, str] = {
    "accuracy": "fraction",
    "float_agreement": "fraction of answers",
    "float_rms": "of the output",
    "float_max": "of the output",
    "latency_cycles": "cycles",
    "interval_cycles": "cycles",
    "multipliers": "",
    "dsp": "slices",
    "bram36": "blocks",
    "lut": "LUTs, estimated",
    "ff": "flip-flops, estimated",
    "dsp_percent": "% of the board",
    "bram36_percent": "% of the board",
    "lut_percent": "% of the board, estimated",
    "ff_percent": "% of the board, estimated",
    "synth_dsp": "slices, synthesised",
    "synth_bram36": "blocks, synthesised",
    "synth_lut": "LUTs, synthesised",
    "synth_ff": "flip-flops, synthesised",
    "synth_mhz": "MHz, by Vivado's timing of the routed unit",
}


@dataclass(frozen=True)
class Point:
    """One configuration.

    Attributes:
        settings: plain JSON values, all that decides the result: model (absolute path), model_sha256, calibration
            (zoo name, absolute .npy path or None), calibration_sha256 (None unless a file), score, norm, weight_bits,
            activation_bits, bias_bits, residual_bits (all None for a model that is quantised already), backend,
            io_type, reuse_factor (a number or "fit"), lanes, parallel_heads, board, clock_period_ns, samples, seed,
            stages (list of names or None), synthesise ("yosys", "vivado" or None), board_sha256 (of the board's
            figures), boards (absolute path of a file with further boards, or None) and, if there are any,
            operators_sha256 (of installed packages with operators).
        key: SHA-256 of what decides the result; resuming goes by it.
        resources: Dask resources that one such task takes, as {"vivado": 1}.
    """

    settings: Mapping[str, Any]
    key: str
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What came of one point.

    Attributes:
        key: of the point.
        settings: of the point.
        status: one of `STATUSES`.
        metrics: plain JSON: the names of `METRICS`, and mismatches, samples, fits, model_id, stages; what is absent is
            None, with a reason in ``metrics["why"]``.
        seconds: of the evaluation itself, in its own process.
        worker: which Dask worker it ran on.
        error: one line; empty if ok.
        log: the end of the evaluation's output.
    """

    key: str
    settings: Mapping[str, Any]
    status: str
    metrics: Mapping[str, Any]
    seconds: float
    worker: str
    error: str
    log: str


def point_key(settings: Mapping[str, Any], evaluator: str) -> str:
    """The key of a point: independent of the order of its settings, of where its files lie, and of other points.

    Args:
        settings: of the point, with a hash beside each file.
        evaluator: version of the evaluation; results of another one are no results of this point.

    Returns:
        64 hexadecimal digits.
    """
    files = [name for name in FILES if settings.get(f"{name}_sha256")] + ["boards"]
    decisive = {name: value for name, value in settings.items() if name not in files}
    text = json.dumps({"evaluator": evaluator, "settings": decisive}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
