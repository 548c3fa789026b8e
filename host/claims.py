# SPDX-License-Identifier: Apache-2.0
"""The papers' headline claims, what is measured here with which command, and what may not be concluded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from hls4attn.host.gain_claims import gain_rows
from hls4attn.host.hardware_claims import BENCH, changes, sizes
from hls4attn.models.errors import InputError, ModelFileError
from hls4attn.models.files import write_json
from hls4attn.models.formats import Codes, Fixed
from hls4attn.models.operators import ConSmaxSpec, ConSmaxSplitSpec, E2SoftmaxSpec, SoftmaxSpec
from hls4attn.models.operators.ailn_stages import MAX_QUANTISED, square_scale, square_table
from hls4attn.models.operators.e2stages import PAPER_DIVIDER
from hls4attn.models.zoo import zoo_model

HERE = "hls4attn report claims"
_SCORES = Fixed(8, 4)
#: Rows of the encoder's evidence that the table quotes.
_MINILM_ROWS = ("E2Softmax", "AILayerNorm", "SOLE", "integer both")


@dataclass(frozen=True)
class Claim:
    """One row.

    Attributes:
        section: paper.
        claim: what it says.
        paper: its figure.
        measured: what this package finds, or "not measured".
        command: what measured it.
        not_shown: what may not be concluded from that.
    """

    section: str
    claim: str
    paper: str
    measured: str
    command: str
    not_shown: str


def gaussian_scores(rows: int, cols: int, std: float, seed: int = 0) -> Codes:
    """Score codes of Gaussian scores, shape ``(rows, 1, 1, cols)``."""
    drawn = np.random.default_rng(seed).normal(0, std, (rows, 1, 1, cols))
    return _SCORES.quantise(drawn)


def width_sweep() -> dict[int, float]:
    """Root-mean-square error of E2Softmax against softmax for each width of its exponents, in units of 1/256."""
    codes = gaussian_scores(1000, 64, 1.5)
    found = {}
    for width in (3, 4, 5, 6):
        spec = E2SoftmaxSpec(_SCORES, (1.0,), code_width=width, out_width=16, out_frac=16)
        error = spec.out_format.to_real(spec.reference(codes)) - spec.real(_SCORES.to_real(codes))
        found[width] = float(np.sqrt(np.mean(error**2))) * 256
    return found


def divider_error() -> tuple[float, float]:
    """Bias and root-mean-square relative error of the divider over every mantissa s of the row sum in [1, 2)."""
    s = 1 + (np.arange(1 << 14) + 0.5) / (1 << 14)
    bits = len(PAPER_DIVIDER).bit_length() - 1
    chosen = np.array(PAPER_DIVIDER)[((s - 1) * (1 << bits)).astype(int)] / 256
    relative = chosen * s - 1
    return float(relative.mean()), float(np.sqrt(np.mean(relative**2)))


def row_sums(slice_length: int, cols: int = 197) -> tuple[float, float, float]:
    """Smallest, mean and largest row sum of E2Softmax, outputs of 16 bits so that their rounding does not show."""
    codes = gaussian_scores(2000, cols, 1.5)
    spec = E2SoftmaxSpec(_SCORES, (1.0,), slice_length=slice_length, out_width=16, out_frac=16)
    sums = spec.out_format.to_real(spec.reference(codes)).sum(axis=-1)
    return float(sums.min()), float(sums.mean()), float(sums.max())


def compression_error() -> tuple[float, float]:
    """Relative error of E(x^2) and of the deviation over all 256 magnitudes, squares as the paper draws them."""
    x = np.arange(256.0)
    squares = np.array(square_table("paper"), dtype=np.float64) * (1 << square_scale("paper"))
    exact, got = np.mean(x**2), np.mean(squares)
    return float(got / exact) - 1, float(np.sqrt((got - x.mean() ** 2) / (exact - x.mean() ** 2))) - 1


def storage_bits() -> str:
    """Bits that wait between the two passes over a row, counted from the formats, beside 16- and 32-bit buffers."""
    cols, channels = 1024, 384
    scores, quantised = cols * E2SoftmaxSpec(_SCORES, (1.0,)).code_width, channels * MAX_QUANTISED.bit_length()
    return (
        f"a row of {cols} scores waits as {scores} bits instead of {16 * cols}, "
        f"a row of {channels} channels as {quantised} instead of {32 * channels}"
    )


def consmax_table_hits() -> tuple[int, int]:
    """Of 256 codes, how many entries of the direct and of the split table are the correctly rounded exponential."""
    fmt, out_frac, width = Fixed(8, 2), 8, 13
    exact = [round(math.exp(x / 4 / 8 - 1.5) / 100 * 2**out_frac) for x in range(fmt.min, fmt.max + 1)]
    hits = []
    for cls in (ConSmaxSpec, ConSmaxSplitSpec):
        spec = cls(fmt, (1.5,), (100.0,), (1 / 8,), (out_frac,), width)
        hits.append(int(np.count_nonzero(spec.table[0] == exact)))
    return hits[0], hits[1]


def sole_claims() -> list[Claim]:
    """Section SOLE."""
    sweep, (bias, rms) = width_sweep(), divider_error()
    two, online = row_sums(0), row_sums(32)
    second, std = compression_error()
    accuracy = _digits_accuracy()
    claims = [
        (
            "4-bit exponents suffice",
            "no figure",
            "rms error in 1/256: " + ", ".join(f"{w} bits {e:.2f}" for w, e in sweep.items()),
            HERE,
            "no accuracy loss, from an error alone",
        ),
        (
            "the divider is unbiased",
            "1.636",
            f"bias {bias:+.2%}, rms {rms:.1%} over all mantissas",
            HERE,
            "an accurate division: single results are 10 % off",
        ),
        (
            "rows are normalised",
            "sum 1",
            f"197 Gaussian scores, two passes: {two[0]:.2f} to {two[2]:.2f}, mean {two[1]:.3f}; "
            f"online in slices of 32: {online[0]:.2f} to {online[2]:.2f}, mean {online[1]:.3f}",
            HERE,
            "that sums are 1: they are within a band",
        ),
        (
            "dynamic compression is accurate",
            "0.2 % on E(x^2), 0.4 % on std",
            f"{second:+.2%} and {std:+.2%} over all 256 magnitudes, as drawn (half up, clipped at 15)",
            HERE,
            "the paper's figures as reproduced",
        ),
        (
            "buffers shrink 16 to 4 bits (softmax) and 32 to 8 bits (LayerNorm)",
            "4x, 4x",
            storage_bits(),
            HERE,
            "any energy",
        ),
        (
            "negligible accuracy drop without retraining",
            "INT8: 0.2 points mean",
            *accuracy,
            "ImageNet or GLUE accuracy",
        ),
        (
            "the same on a pre-trained encoder",
            "BERT-Base on GLUE",
            *_minilm_figures(),
            "task accuracy; linear maps stay FP32",
        ),
        (
            "2.82x and 3.32x area efficiency",
            "28 nm",
            f"{sizes('e2softmax', 'softmax')}; {sizes('ailayernorm', 'layernorm')}",
            BENCH,
            "an area of silicon, or a ratio to the paper's baselines",
        ),
        (
            "3.04x and 3.86x energy efficiency",
            "28 nm",
            f"{changes('e2softmax', 'softmax')}; {changes('ailayernorm', 'layernorm')}",
            BENCH,
            "any joule: changes of nets are a proxy, memories and glitches are left out",
        ),
        ("36.2x and 61.3x over a 2080 Ti", "DeiT-Tiny", "not measured", "", "a speed-up over any GPU"),
        ("1 GHz", "28 nm", "not measured", "", "a clock frequency"),
    ]
    return [Claim("SOLE", *row) for row in claims]


def _digits_accuracy() -> tuple[str, str]:
    """The committed accuracy table in words, and the command that made it."""
    path = zoo_model("digits-vit").folder / "sole.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        rows = "; ".join(f"{v} {s['mean']:.2%} +- {s['spread']:.2%}" for v, s in record["summary"].items())
        seeds, drop = len(record["seeds"]), record["drop"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} is missing or not what training writes: {error}") from error
    text = f"digits, {seeds} seeds: {rows}; both against INT8: {-100 * drop:+.2f} points"
    return text, "hls4attn train digits-vit --score sole"


def _minilm_figures() -> tuple[str, str]:
    """The committed figures of the pre-trained encoder in words, and the command that made them."""
    path = Path(zoo_model("digits-vit").folder).parent / "minilm" / "evidence.json"
    try:
        runs: list[dict[str, Any]] = json.loads(path.read_text())
        parts = []
        for name in _MINILM_ROWS:
            found = [next(r for r in run["rows"] if r["name"] == name)["agreement"] for run in runs]
            cosine, spearman = ([f[key]["mean"] for f in found] for key in ("cosine", "spearman"))
            parts.append(
                f"{name}: {np.mean(cosine):.4f} +- {np.std(cosine, ddof=1):.4f}, "
                f"{np.mean(spearman):.4f} +- {np.std(spearman, ddof=1):.4f}"
            )
        sentences = runs[0]["evaluation"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise ModelFileError(f"{path} is missing or not what the evidence command writes: {error}") from error
    text = f"MiniLM, {sentences} sentences, {len(runs)} seeds, cosine and Spearman to FP32: " + "; ".join(parts)
    return text, "python -m hls4attn.models.zoo.minilm --sentences FILE"


def consmax_claims() -> list[Claim]:
    """Section ConSmax."""
    direct, split = consmax_table_hits()
    rows = []
    for spec in (ConSmaxSpec(_SCORES, (1.5,), (100.0,), (1.0,), (14,)), SoftmaxSpec(_SCORES, (1.0,))):
        sums = [
            spec.out_format.to_real(spec.reference(gaussian_scores(500, n, 1.0))).sum(-1).mean() for n in (16, 64, 256)
        ]
        rows.append(", ".join(f"{s:.2f}" for s in sums))
    claims = [
        (
            "the look-up is lossless",
            "every code enumerated",
            f"direct table: {direct}/256 codes correctly rounded; split tables with 8-bit mantissas: {split}/256",
            HERE,
            "that the split form is bit-exact",
        ),
        (
            "no normalisation is needed",
            "beta 1.5, gamma 100",
            f"mean row sum at 16, 64, 256 Gaussian scores: ConSmax {rows[0]}; softmax {rows[1]}",
            HERE,
            "that one gamma suits every length",
        ),
        ("perplexity within 0.9 %", "6 layers, width 384, 30k steps", "not measured", "", "language-model quality"),
        (
            "2.75x and 13.75x area",
            "16 nm",
            f"{sizes('consmax', 'softmax')}; {sizes('consmax-split', 'softmax')}",
            BENCH,
            "an area of silicon, or a ratio to the paper's baselines",
        ),
        (
            "3.35x and 7.5x power",
            "16 nm",
            f"{changes('consmax', 'softmax')}; {changes('consmax-split', 'softmax')}",
            BENCH,
            "any watt: changes of nets are a proxy, memories and glitches are left out",
        ),
    ]
    return [Claim("ConSmax", *row) for row in claims]


def gain_claims() -> list[Claim]:
    """Section gain cells."""
    return [Claim("Gain cells", *row) for row in gain_rows(HERE)]


SECTIONS: dict[str, Callable[[], list[Claim]]] = {
    "consmax": consmax_claims,
    "sole": sole_claims,
    "gaincell": gain_claims,
}


def print_claims(out: Console, section: str | None, json_file: Path | None) -> None:
    """A table a section, and JSON if asked for.

    Raises:
        InputError: for an unknown section.
    """
    if section is not None and section not in SECTIONS:
        raise InputError(f"Unknown section {section!r}; known: {', '.join(SECTIONS)}")
    found: list[Claim] = []
    for name in [section] if section else SECTIONS:
        claims = SECTIONS[name]()
        table = Table(
            "claim", "paper", "measured here", "command", "not shown", title=claims[0].section, show_lines=True
        )
        for c in claims:
            table.add_row(c.claim, c.paper, c.measured, c.command, c.not_shown)
        out.print(table)
        found += claims
    if json_file:
        write_json(json_file, [asdict(c) for c in found])
