# SPDX-License-Identifier: Apache-2.0
"""Tables of what is committed: trained models, their way to the board, runs of the hardware bench."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from hls4attn.host.bench.hardware_markdown import markdown_table, read_run
from hls4attn.host.bench.hardware_markdown import tables as hardware_tables
from hls4attn.host.bench.record import read_record
from hls4attn.models import zoo

_ZOO = Path(zoo.__file__).parent
#: Names of the encoder's variants in the record, with their labels.
_ENCODER = {
    "int8 scores": "8-bit scores, float softmax",
    "E2Softmax": "E2Softmax",
    "PTF input": "8-bit inputs, float LayerNorm",
    "integer LayerNorm": "exact integer LayerNorm, 8-bit output",
    "AILayerNorm": "AILayerNorm, 8-bit output",
    "SOLE": "both",
    "integer both": "exact integer softmax and LayerNorm",
}


def _read(*parts: str) -> Any:
    return json.loads(_ZOO.joinpath(*parts).read_text())


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def results() -> str:
    """The committed models from end to end."""
    rows = []
    for row in read_record():
        found = row["estimate"]
        figures = (f"{found[key]:,}" for key in ("latency_cycles", "interval_cycles", "dsp", "lut"))
        fits = "yes" if found["fits"] else "no"
        rows.append([row["title"], _quality(row["name"]), mismatches(row["verified"]), *figures, fits])
    head = ["model", "quality", "mismatches", "cycles, first", "each further", "DSP", "LUT ~", "fits"]
    return markdown_table(head, rows)


def mismatches(rungs: Iterable[Mapping[str, Any]]) -> str:
    """Mismatches of the stages that got the same number of samples; one alone has its name."""
    by_samples: dict[int, list[Mapping[str, Any]]] = {}
    for rung in rungs:
        by_samples.setdefault(rung["samples"], []).append(rung)
    parts = []
    for samples, same in sorted(by_samples.items(), reverse=True):
        where = f"{len(same)} stages" if len(same) > 1 else same[0]["stage"]
        parts.append(f"{sum(r['mismatches'] for r in same)}/{samples:,} in {where}")
    return ", ".join(parts)


def _quality(name: str) -> str:
    """Accuracy, or loss, on the test set: mean of three seeds."""
    if name == "gaincell":
        rows = _read("char_gpt", "evidence.json")["rows"]
        return f"{next(r['mean'] for r in rows if r['name'] == 'gaincell'):.3f} nats"
    if name == "sole":
        return _percent(_read("digits_vit", "sole.json")["summary"]["INT8 + both"]["mean"])
    return _percent(_read("digits_vit", f"{name.removesuffix('-rtl')}.json")["mean"])


def digits() -> str:
    """Accuracy of the digits transformers that are trained as they are."""
    rows = []
    for score, label in (("consmax", "ConSmax"), ("softmax", "integer softmax")):
        record = _read("digits_vit", f"{score}.json")
        seeds = ", ".join(f"{100 * a:.2f}" for a in record["accuracies"])
        rows.append([label, _percent(record["mean"]), _percent(record["spread"]), seeds])
    return markdown_table(["score function", "mean", "spread (standard deviation)", "three seeds"], rows)


def sole() -> str:
    """Accuracy of the one that is quantised after training."""
    summary = _read("digits_vit", "sole.json")["summary"]
    rows = [[name, _percent(found["mean"]), _percent(found["spread"])] for name, found in summary.items()]
    return markdown_table(["variant", "mean", "spread"], rows)


def characters() -> str:
    """Loss of the character models."""
    rows = [
        [f"{r['name']}: {r['meaning']}", f"{r['steps']:,}", f"{r['mean']:.3f}", f"{r['spread']:.3f}"]
        for r in _read("char_gpt", "evidence.json")["rows"]
    ]
    return markdown_table(["model", "steps", "loss", "spread"], rows)


def other_cells(kind: str) -> str:
    """Loss of the gain-cell model with cells that it was not trained with."""
    label = {"leak": "leak a token", "read_noise": "read noise", "mismatch": "mismatch of cells"}[kind]
    found = _read("char_gpt", "evidence.json")["sweeps"][kind]
    losses = ["loss", *(f"{x['mean']:.3f}" for x in found)]
    return markdown_table([label, *(f"{x['value']:g}" for x in found)], [losses])


def encoder() -> str:
    """Agreement of the pre-trained encoder with itself in float."""
    runs = _read("minilm", "evidence.json")
    rows = []
    for name, label in _ENCODER.items():
        found = [next(r for r in run["rows"] if r["name"] == name)["agreement"] for run in runs]
        rows.append([label, *(f"{fmean(f[key]['mean'] for f in found):.4f}" for key in ("cosine", "spearman"))])
    return markdown_table(["in place of float softmax and LayerNorm", "cosine", "Spearman of similarities"], rows)


def hardware(kind: str, *names: str) -> str:
    """Sizes and clocks of the `units` of these names or of all, or of the `heads`."""
    run = read_run()
    units = [u for name in names for u in run["units"] if u["name"] == name] or run["units"]
    return hardware_tables({**run, "units": units})[kind]


TABLES: dict[str, Callable[..., str]] = {
    "results": results,
    "digits": digits,
    "sole": sole,
    "encoder": encoder,
    "characters": characters,
    "cells-with": other_cells,
    "hardware": hardware,
}
