# SPDX-License-Identifier: Apache-2.0
"""Section of the claims table on gain-cell attention; every figure says where it comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hls4attn.models.formats import Codes, Reals
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_cost import (
    COMPUTED,
    GPUS,
    LATENCY_NS,
    MEASURED,
    SIMULATED,
    Gpu,
    head_cost,
    multiply_add_fj,
)
from hls4attn.models.operators.gain_curve import LINEAR_CELL
from hls4attn.models.operators.gain_float import code_sums
from hls4attn.models.operators.gain_scaling import NonIdeality, Scalers

#: Retention of the cells that the paper's leak stands for.
RETENTION_MS = 5.0
_VERIFY = "hls4attn verify --operator gaincell"


def gain_codes(spec: GainCellSpec, tokens: int, seed: int = 0) -> tuple[Codes, Codes, Codes]:
    """Uniform codes of q, k and v for one head."""
    rng = np.random.default_rng(seed)
    q, k, v = (
        rng.integers(0, n, (spec.heads, tokens, spec.head_dim)) for n in (spec.q_levels, spec.k_levels, spec.v_levels)
    )
    return q, k, v


def rms(a: Any, b: Any) -> float:
    """Root-mean-square difference."""
    return float(np.sqrt(np.mean((np.asarray(a, dtype=np.float64) - b) ** 2)))


def pulse_sweep(tokens: int = 256) -> dict[int, tuple[float, float]]:
    """For numbers of pulse steps: the share of sums that differ from the float model, and the rms difference."""
    found = {}
    for steps in (150, 600, 1200):
        spec = GainCellSpec(window=tokens, pulse_steps=steps)
        codes = gain_codes(spec, tokens)
        got, exact = spec.reference(*codes), code_sums(spec, *codes)
        found[steps] = float(np.mean(got != exact)), rms(got, exact)
    return found


def effect_sweep(tokens: int = 512) -> dict[str, float]:
    """Rms change of the integer sums by the leak and by the cell's curve."""
    base = GainCellSpec(window=tokens)
    codes = gain_codes(base, tokens)
    want = base.reference(*codes)
    variants: dict[str, dict[str, Any]] = {
        "no leak": {"leak": 0.0},
        "2e-3": {"leak": 2e-3},
        "0.2": {"leak": 0.2},
        "linear": {"cell": LINEAR_CELL},
    }
    return {name: rms(replace(base, **change).reference(*codes), want) for name, change in variants.items()}


def noise_sweep(tokens: int = 64) -> dict[str, float]:
    """Rms change of the float model's sums by noise and spread, which the paper leaves out."""
    spec = GainCellSpec(window=tokens, tile=32)
    codes, last = gain_codes(spec, tokens), (spec.q_levels - 1, spec.k_levels - 1, spec.v_levels - 1)
    values = [c / n * high for c, n, high in zip(codes, last, (1.0, spec.vdd, spec.vdd), strict=True)]
    spec = replace(spec, leak=2e-3, scalers=Scalers(*((1.0,), (0.0,)) * 4))

    def sums(**nonideal: float) -> Reals:
        return replace(spec, nonideal=NonIdeality(**nonideal)).real(*values) / spec.out_step  # type: ignore[arg-type]

    want = sums()
    kinds = {"read_noise": 0.01, "mismatch": 0.05, "retention_spread": 0.2}
    return {name: rms(sums(**{name: size}), want) for name, size in kinds.items()}


def steps_differ(tokens: int = 300) -> tuple[int, int]:
    """How many sums of a wrapping window differ between whole sequence and token by token, and of how many."""
    spec = GainCellSpec(window=128)
    q, k, v = gain_codes(spec, tokens)
    want, state, wrong = spec.reference(q, k, v), spec.empty_state(), 0
    for t in range(tokens):
        got, state = spec.step(q[:, t], k[:, t], v[:, t], state)
        wrong += int(np.count_nonzero(got != want[:, t]))
    return wrong, want.size


def _energy() -> str:
    paper, other = head_cost(), [(256, 64), (64, 64), (1024, 128)]
    sizes = "; ".join(f"window {m}, head {d}: {head_cost(m, d).total / 1000:.2f} nJ" for m, d in other)
    return (
        f"{COMPUTED}: the four shares are {paper.total / 1000:.2f} nJ, {paper.digital / paper.total:.0%} digital, "
        f"{multiply_add_fj(paper):.1f} fJ a multiply-add; scaled by cells, results and writes: {sizes}"
    )


def _gpu(gpu: Gpu) -> tuple[str, str]:
    """The paper's figures of a device and what they are when computed again, beside its memory-bound floor."""
    paper = f"{gpu.speed} and {gpu.energy} ({SIMULATED} against a GPU run)"
    floor = f"reading keys and values once in fp16 takes {gpu.floor:.2f} us: x{gpu.floor_speed_up:,.0f}"
    if gpu.speed_up is None or gpu.energy_ratio is None:
        return paper, f"{COMPUTED}: no baseline is published; {floor}"
    return paper, (
        f"{COMPUTED}: {gpu.microseconds} us and {gpu.millijoules} mJ over {LATENCY_NS:g} ns and 12 heads: "
        f"x{gpu.speed_up:,.0f} and x{gpu.energy_ratio:,.0f}; {floor}"
    )


def gain_rows(here: str) -> list[tuple[str, str, str, str, str]]:
    """Claim, paper's figure, what is found, command, what may not be concluded."""
    pulses, effects, noise, (wrong, sums) = pulse_sweep(), effect_sweep(), noise_sweep(), steps_differ()
    gpus = [
        (
            f"faster and thriftier than {gpu.name}",
            *_gpu(gpu),
            here,
            "an end-to-end gain: attention alone, analog figures simulated, the baseline an fp32 loop of batch 64",
        )
        for gpu in GPUS
    ]
    return [
        (
            "65 ns a token and head",
            f"{LATENCY_NS:g} ns ({SIMULATED})",
            "not measured",
            "",
            "a time of any chip, or of an FPGA",
        ),
        ("6.1 nJ a token and head", f"1.12 + 0.70 + 4.0 + 0.33 nJ ({SIMULATED})", _energy(), here, "joules of a chip"),
        *gpus,
        (
            "the pulses between the arrays stay analog",
            "no ADC",
            f"{MEASURED}: in integers, uniform codes, 256 tokens, sums that differ from the analog model and rms: "
            + "; ".join(f"{n} steps {share:.0%}, {error:.2f} codes" for n, (share, error) in pulses.items()),
            here,
            "jitter or offset of a comparator",
        ),
        (
            "sequence and streaming are one function",
            "not stated",
            f"{MEASURED}: {wrong} of {sums} sums differ over 300 tokens in a window of 128; software stages: {_VERIFY}",
            here,
            "anything about analog hardware",
        ),
        (
            f"a retention of {RETENTION_MS:g} ms is harmless",
            "leak 1.6e-4 a token, that is 0.8 us a token",
            f"{MEASURED}: rms change of uniform sums over 512 tokens, against the paper's leak: none "
            f"{effects['no leak']:.2f} codes, 10 us a token {effects['2e-3']:.2f}, 1 ms a token {effects['0.2']:.2f}; "
            f"straight cell {effects['linear']:.2f}",
            here,
            "accuracy of a trained model; spread of the retention",
        ),
        (
            "robust against noise and mismatch",
            "not modelled",
            f"{MEASURED}, an extension: rms change in codes, 64 tokens: 1 % read noise {noise['read_noise']:.2f}, "
            f"5 % mismatch {noise['mismatch']:.2f}, 20 % retention spread at 10 us a token "
            f"{noise['retention_spread']:.2f}",
            here,
            "robustness of a trained model, or figures of a real process",
        ),
        ("adaptation replaces training", "perplexity 1,757 to 21", "not measured", "", "convergence in general"),
        ("GPT-2's accuracy is kept", "comparable on 7 tasks", "not measured", "", "language-model quality"),
        ("0.5 mm2 a head", f"0.5 mm2 ({SIMULATED})", "not measured", "", "an area"),
    ]
