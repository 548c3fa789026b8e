# SPDX-License-Identifier: Apache-2.0
"""Tables of what the operators compute, as `verify --operator` and `report claims` print it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from cpp import cpp
from numpy.typing import NDArray

from hls4attn.host.bench.hardware_markdown import markdown_table
from hls4attn.host.claims import SECTIONS, Claim
from hls4attn.host.gain_claims import gain_codes
from hls4attn.host.operator_models import OPERATORS, operator_codes, operator_distance, operator_model
from hls4attn.models.export.reader import read_graph
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import ConSmaxSpec, E2SoftmaxSpec, GainCellSpec, ScoreSpec, SoftmaxSpec
from hls4attn.models.operators.gain_float import code_sums

#: What the tables of errors look at, as `verify --operator X --samples 10000 --seed 0` does.
SAMPLES, SEED = 10_000, 0
_SCORES = Fixed(8, 4)
#: Claims of SOLE on its softmax alone, on its LayerNorm alone; the others are on both.
_SOFTMAX_CLAIMS = ("4-bit exponents suffice", "the divider is unbiased", "rows are normalised")
_NORM_CLAIMS = ("dynamic compression is accurate",)


def errors(*names: str) -> str:
    """Distance to the float function of an operator's cases."""
    rows = []
    for name in names:
        for case in OPERATORS[name]:
            spec = case.spec()
            codes = operator_codes(read_graph(operator_model(spec)), SAMPLES, SEED)
            found = operator_distance(spec, codes)
            if found is None:
                continue
            rows.append(
                (
                    case.title if len(names) == 1 else f"{name}, {case.title}",
                    f"{found.max_steps:.2f}",
                    f"{found.mean_steps:.3f}",
                    f"{found.gain:.4f}",
                    f"{found.saturated:,} of {found.elements:,}",
                )
            )
    return markdown_table(("configuration", "largest", "mean", "gain", "saturated"), rows)


def rows_of(*names: str) -> str:
    """Row sums beside the cosine, by the length of a row of Gaussian scores."""
    made: dict[str, list[tuple[str, Callable[[int], ScoreSpec]]]] = {
        "consmax": [("ConSmax", _consmax)],
        "e2softmax": [
            ("two passes", lambda n: E2SoftmaxSpec(_SCORES, (1.0,), **_wide(n))),
            ("online, slices of 32", lambda n: E2SoftmaxSpec(_SCORES, (1.0,), slice_length=32, **_wide(n))),
            ("two passes, floor", lambda n: E2SoftmaxSpec(_SCORES, (1.0,), out_rounding="floor", **_wide(n))),
        ],
        "softmax": [("integer softmax", lambda n: SoftmaxSpec(_SCORES, (1.0,), **_wide(n)))],
    }
    rows = []
    for name in names:
        for title, make in made[name]:
            for cols in (16, 64, 256, 1024):
                spec = make(cols)
                codes = _gaussian(cols)
                got = spec.out_format.to_real(spec.reference(codes))[:, 0, 0]
                exact = spec.real(_SCORES.to_real(codes))[:, 0, 0]
                gain = got.sum(axis=-1) / exact.sum(axis=-1)
                rows.append(
                    (
                        f"{title}, {cols:,} scores",
                        f"{gain.mean():.4f}",
                        f"{gain.min():.3f} to {gain.max():.3f}",
                        f"{_cosine(got, exact).mean():.5f}",
                        f"{got.sum(axis=-1).mean():.3f}",
                    )
                )
    return markdown_table(("operator and row", "gain, mean", "gain, range", "cosine, mean", "row sum, mean"), rows)


def _wide(cols: int) -> dict[str, int]:
    """Outputs of 8 bits; longer rows have smaller probabilities, so that the point moves with the length."""
    return {"out_width": 8, "out_frac": 8 + max(0, int(np.log2(cols)) - 4) // 2}


def _consmax(cols: int) -> ConSmaxSpec:
    return ConSmaxSpec(_SCORES, (1.0,), (0.7 * cols,), (1.0,), (8 + max(0, int(np.log2(cols)) - 4),))


def _gaussian(cols: int) -> NDArray[np.int64]:
    drawn = np.random.default_rng(SEED).normal(0, 1.0, (500, 1, 1, cols))
    return _SCORES.quantise(drawn)


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (a * b).sum(axis=-1) / np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    return found


def norm_rows(*names: str) -> str:
    """Gain of the deviation beside the cosine, over Gaussian rows of 48 and of 768 channels."""
    rows = []
    for name in names:
        for case in OPERATORS[name]:
            for channels in (48, 768):
                spec = _with_channels(case.spec(), channels)
                spread = 2.0 ** (np.array(getattr(spec, "alpha", (3,) * channels)) - 3)
                drawn = np.random.default_rng(SEED).normal(0, spec.in_format.max / 6, (500, channels)) * spread
                codes = spec.in_format.quantise(drawn / 2.0**spec.in_format.frac)
                got = spec.out_format.to_real(spec.reference(codes))
                exact = spec.real(spec.in_format.to_real(codes))
                gain = got.std(axis=-1) / exact.std(axis=-1)
                rows.append(
                    (
                        f"{case.title}, {channels} channels",
                        f"{gain.mean():.4f}",
                        f"{gain.min():.3f} to {gain.max():.3f}",
                        f"{_cosine(got, exact).mean():.5f}",
                    )
                )
    return markdown_table(("operator and row", "gain of the deviation, mean", "range", "cosine, mean"), rows)


def _with_channels(spec: object, channels: int) -> object:
    repeat = {n: tuple(np.resize(getattr(spec, n), channels)) for n in ("gamma", "beta", "alpha") if hasattr(spec, n)}
    if "alpha" in repeat:
        repeat["alpha"] = tuple(int(a) for a in repeat["alpha"])
    return replace(spec, **repeat)  # type: ignore[type-var]


def cells() -> str:
    """Gain beside the cosine of gain cells, by the number of pulse lengths."""
    rows = []
    for steps in (150, 600, 1200):
        spec = GainCellSpec(window=256, pulse_steps=steps)
        codes = gain_codes(spec, 256)
        got, exact = spec.reference(*codes).astype(float), code_sums(spec, *codes)
        gain = got.std() / exact.std()
        differ = np.mean(got != exact)
        rows.append((f"pulse of {steps:,} steps", f"{gain:.4f}", f"{_cosine(got, exact).mean():.5f}", f"{differ:.1%}"))
    return markdown_table(("head of 64", "gain", "cosine, mean", "sums that differ"), rows)


@cache
def _claims(section: str) -> tuple[Claim, ...]:
    return tuple(SECTIONS[section]())


def claims(section: str, part: str = "") -> str:
    """The paper's claims beside what is measured; `part` of SOLE's is "softmax" or "layernorm"."""
    leave_out = {"softmax": _NORM_CLAIMS, "layernorm": _SOFTMAX_CLAIMS}.get(part, ())
    rows = []
    for c in _claims(section):
        if c.claim in leave_out:
            continue
        command = f"`{c.command}`" if c.command else "-"
        rows.append((c.claim, c.paper, c.measured, command, c.not_shown))
    head = ("claim", "paper", "measured here", "command", "not shown")
    return markdown_table(head, rows).replace("---:", "---")


TABLES: dict[str, Callable[..., str]] = {
    "errors": errors,
    "rows": rows_of,
    "norm-rows": norm_rows,
    "claims": claims,
    "cpp": cpp,
    "cells": cells,
}
