# SPDX-License-Identifier: Apache-2.0
"""Kernels of networks in RTL against the reference: random ones, and what the tests of all of them ask."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from hls_rows import Case, make

from hls4attn.hls.rtl.net.kernel import RtlKernel, rtl_kernel
from hls4attn.hls.rtl.net.kernel_sim import KernelRun, KernelSim
from hls4attn.models.formats import Codes

#: Kinds of hls_rows, and seeds: together every indexing of constants, rounding and limit, one part a row and many.
CASES = {
    "dense, a row a clock": ("dense", 0),
    "dense, by blocks": ("dense", 1),
    "dense, idle lanes": ("dense", 3),
    "dense, ties to even": ("dense", 10),
    "dense, chains in block RAM": ("dense", 23),
    "dense, a short chain": ("dense", 39),
    "affine": ("affine", 2),
    "add": ("add", 2),
    "multiply": ("multiply", 1),
    "reduce": ("reduce", 1),
    "reduce, a row a clock": ("reduce", 0),
}


@cache
def case_of(name: str) -> Case:
    kind, seed = CASES[name]
    return make(seed, kind, seed % 4 == 0)


def slow(case: Case, lanes: int = 1) -> Case:
    """A normalisation of few units."""
    cycles = -(-case.node.ints["channels"] // lanes)
    return replace(case, node=replace(case.node, ints=case.node.ints | {"lanes": lanes}), cycles=cycles)


@cache
def kernel_of(name: str, dsp: bool = True) -> RtlKernel:
    case = case_of(name)
    return rtl_kernel(case.node, case.graph, dsp)


def send(
    sim: KernelSim, case: Case, stalls: tuple[int, int] = (0, 0), seed: int = 0, patience: int = 5000
) -> tuple[KernelRun, Codes]:
    """Every length of sequence back to back; what came out and what should have."""
    lengths, operands, results = case.sequences(seed)
    rows = [np.concatenate([o[k] for o in operands]) for k in range(len(operands[0]))]
    node, given = case.node, [len(r) for r in results]
    run = sim.run(rows, node.in_formats, node.format, lengths, given, stalls, seed, patience)
    return run, np.concatenate(results)
