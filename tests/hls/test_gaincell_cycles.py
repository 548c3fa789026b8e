# SPDX-License-Identifier: Apache-2.0
"""Gain-cell heads: cycles and resources."""

from __future__ import annotations

import pytest
from gain_models import SPECS, cells_model, random_codes

from hls4attn.hls import lower_graph
from hls4attn.hls.gaincell import structure
from hls4attn.hls.gaincell_sim import GainCellSim
from hls4attn.hls.stream import cycles
from hls4attn.hls.stream.kernels import parallel_resources, stream_resources
from hls4attn.hls.stream.network import to_stream
from hls4attn.models.export.reader import read_graph
from hls4attn.models.operators import GainCellSpec

pytestmark = pytest.mark.compile

TINY = SPECS["wraps"][0]


def test_cycles_by_hand() -> None:
    # 3 heads of 64, window 1024, tile 64: n = 1..64 take 3 * 64, and 64 for the last tile's codes
    ints = structure(GainCellSpec(3), 12)
    assert list(cycles.token_cycles(ints, 66)[[0, 63, 64]]) == [3 * 64 + 64, 3 * 64 + 64, 3 * 128 + 64]
    assert set(cycles.token_cycles(ints, 3, before=1022)) == {3 * 1024 + 64}
    # 24 elements, tile 3: 8 lanes, 3 passes
    assert list(cycles.token_cycles(structure(GainCellSpec(2, 24, 12, 3), 12), 4)) == [9, 9, 9, 15]
    # split: as soon as the window is full, one tile a head more
    assert list(cycles.token_cycles(structure(GainCellSpec(2, 4, 8, 4, tiling="absolute"), 12), 9)) == [
        *[12] * 4,
        *[20] * 3,
        *[28] * 2,
    ]
    sim = GainCellSim(TINY)
    before = list(sim.cycles(20))
    assert before == [2 * 8 + 8] * 8 + [2 * 16 + 8] * 12
    sim.step(*random_codes(TINY, 7, 0))
    assert list(sim.cycles(13)) == before[7:]
    sim.step(*random_codes(TINY, 100, 0))
    assert list(sim.cycles()) == [40]


def test_cycles_between_arrays() -> None:
    node = next(n for n in lower_graph(read_graph(cells_model(TINY, 20))).nodes if n.op == "AttnGainCell")
    scan = 8 * (2 * 8 + 8) + 12 * (2 * 16 + 8)
    assert cycles.parallel_cycles(node, 1) == scan + 20 * 2 * 16
    assert cycles.parallel_cycles(node, 3) == 3 * scan + 20 * 2 * 16


def test_resources_of_the_paper_s_head() -> None:
    """One head of 64, 1024 slots, tile 64."""
    paper = GainCellSpec()
    design = to_stream(lower_graph(read_graph(cells_model(paper, 1024, channels=4, tail="none"))))
    node = next(n for n in design.nodes if n.op == "AttnGainCell")
    for found in (stream_resources(node), parallel_resources(node, 1)):
        assert found.bits("ram") == 2 * 1024 * 64 * 3
        assert found.bits("rom") == 1024 * 8 * 12
        # 64 of a current and a query, 8 of a current and a pulse, one for codes; none for the pulse, a shift
        assert dict(found.multipliers) == {(12, 5): 64, (12, 11): 8, (23, 18): 1}
    # words of 192 bits are 11 blocks of 1024 x 18, for keys and for values; 96 bits are 6 of them
    assert stream_resources(node).bram36 == (11 + 11 + 6) / 2
