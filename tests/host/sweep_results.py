# SPDX-License-Identifier: Apache-2.0
"""Plans and results of sweeps that nothing evaluated, and what evaluates them in no time."""

import hashlib
import time
from pathlib import Path

from hls4attn.host.sweep.point import Result

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "models" / "zoo" / "digits_vit"
EVALUATOR = "test-1"

PLAN = """
[sweep]
objectives = ["accuracy:max", "dsp:min"]
[sweep.axes]
model = "m.keras"
calibration = "digits-vit"
score = ["softmax", "e2softmax"]
weight_bits = [4, 6, 8]
"""


def write_plan(folder, text=PLAN, name="plan.toml"):
    """A plan beside the models that it names."""
    for target, source in (("m.keras", "float.keras"), ("m.onnx", "consmax.onnx")):
        if not (folder / target).exists():
            (folder / target).symlink_to(DIGITS / source)
    path = folder / name
    path.write_text(text)
    return path


def result(number, status="ok", settings=None, **metrics):
    """A result with a key of its own; without metrics, those of a design that fits."""
    key = hashlib.sha256(str(number).encode()).hexdigest()
    found = {"mismatches": 0, "fits": True, "accuracy": 0.5, "interval_cycles": 10, "dsp": 1, **metrics}
    error, log = ("", "") if status == "ok" else ("no such thing", "a log")
    chosen = {"model": f"/m/{number}.onnx", "score": "softmax", **(settings or {})}
    return Result(key, chosen, status, found if status == "ok" else {}, 0.25, "tcp://w:1", error, log)


#: All ways in which a point can end.
RESULTS = [
    result(0, settings={"score": "softmax", "weight_bits": 8, "seed": 1}, accuracy=0.95, dsp=20),
    result(1, settings={"score": "e2softmax", "weight_bits": 4, "seed": 1}, accuracy=0.9, dsp=3),
    result(2, settings={"score": "e2softmax", "weight_bits": 8, "seed": 1}, accuracy=0.9, dsp=9),
    result(3, "timeout", settings={"score": "softmax", "weight_bits": 4, "seed": 1}),
    result(4, "failed", settings={"score": "softmax", "weight_bits": None, "seed": 1}),
    result(5, settings={"score": "softmax", "weight_bits": 2, "seed": 1}, accuracy=0.99, dsp=1, fits=False),
    result(6, accuracy=None, settings={"score": "softmax", "weight_bits": 4, "seed": 1}, why={"accuracy": "no labels"}),
]


def evaluate(settings):
    """Numbers that depend on the settings; 6-bit weights fail."""
    if settings["weight_bits"] == 6:
        print("six!")
        raise ValueError("no six")
    better = settings["score"] == "softmax"
    return {
        "mismatches": 0,
        "fits": True,
        "accuracy": 0.9 + 0.01 * settings["weight_bits"] / 8 + 0.001 * better,
        "interval_cycles": 100,
        "dsp": settings["weight_bits"] * (2 if better else 1),
    }


def slowly(settings):
    """As long as the test of an interruption needs."""
    if settings["weight_bits"] != 4:
        time.sleep(60)
    return evaluate(settings)


def in_process(points, *, work, timeout_s, **_options):
    """What stands for the runner where the cluster is not what is tested."""
    function = globals()[work.partition(":")[2]]
    for point in points:
        try:
            status, metrics, error = "ok", function(point.settings), ""
        except ValueError as problem:
            status, metrics, error = "failed", {}, f"ValueError: {problem}"
        yield Result(point.key, point.settings, status, metrics, 0.01, "here", error, "six!" if error else "")
