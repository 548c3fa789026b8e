# SPDX-License-Identifier: Apache-2.0
"""Gain cells as a co-processor on emulated boards: exact over any conversation."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from gaincells import (
    LAYERS,
    SMALL,
    SPECS,
    Truth,
    agree,
    begun,
    draw,
    other_cells,
    package,
    sequence,
    unharmed,
)

from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_curve import MeasuredCurve

pynq = pytest.importorskip("pynq")
from hls4attn.host.driver import GainCellModel, RunStats, load_overlay  # noqa: E402
from hls4attn.host.emulated_device import EmulatedDevice  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state")


@pytest.fixture
def overlay(tmp_path):
    with load_overlay(package(tmp_path), EmulatedDevice("pynq-z2")) as overlay:
        yield overlay


@pytest.fixture
def model(overlay) -> GainCellModel:
    return overlay.model


@pytest.mark.parametrize("on", ["pynq-z2", "kv260"])
@pytest.mark.parametrize("case", SPECS)
def test_any_conversation_is_exact(tmp_path, case: str, on: str) -> None:
    """Packets of 1 to 20 tokens to any layer, clearing and other tables, several times around the window."""
    spec = SPECS[case]
    rng = np.random.default_rng(len(case))
    with load_overlay(package(tmp_path, spec, on), EmulatedDevice(on), buffer_bytes=300) as overlay:
        model, truth = overlay.model, Truth(spec)
        model.require(spec)
        assert model.layers == LAYERS
        for number in range(150):
            layer, what = int(rng.integers(LAYERS)), rng.random()
            if what < 0.08:
                which = None if what < 0.02 else layer
                model.clear(which)
                truth.clear(which)
            elif what < 0.14:
                truth.spec = spec if what < 0.1 else other_cells(spec)
                model.load_table(*truth.spec.tables[: 1 + (spec.k_levels != spec.v_levels)])
            else:
                agree(model, truth, int(rng.integers(1, 21)), number, layer)
            assert [model.filled(n) for n in range(LAYERS)] == [truth.filled(n) for n in range(LAYERS)]
        assert truth.tokens > 500
        assert (model.tokens, model.cycles) == (truth.tokens, truth.cycles)
        assert model.cycles_are == "by the heads' formula, not measured"


def test_one_packet_or_many_give_the_same(model) -> None:
    operands = draw(SMALL, 30, 5)
    expected = sequence(SMALL, *operands)
    assert np.unique(expected).size > 5
    whole = model.step(*operands, layer=1)
    one = [model.step(*(a[n] for a in operands), layer=2) for n in range(30)]
    for found in (whole, np.stack(one)):
        assert found.dtype == np.int64
        assert np.array_equal(found, expected)
    assert (model.filled(0), model.filled(1), model.filled(2)) == (0, 8, 8)
    assert model.last == RunStats(1, 1, 36, 12)


@pytest.mark.compile  # slow without the C simulation
def test_ten_thousand_tokens_without_a_mismatch(tmp_path) -> None:
    """A head as in the paper but for its window, more than 80 times around it."""
    spec = GainCellSpec(heads=1, head_dim=64, window=128)
    operands = draw(spec, 10_240, 11)
    with load_overlay(package(tmp_path, spec), EmulatedDevice("pynq-z2")) as overlay:
        found = overlay.model.step(*operands, layer=2)
        assert np.count_nonzero(found != sequence(spec, *operands)) == 0
        assert overlay.model.last == RunStats(10_240, 2, 10_240 * 192, 10_240 * 64)


def test_a_token_may_be_any_integers(model) -> None:
    operands = draw(SMALL, 1, 3)
    expected = sequence(SMALL, *operands)[0]
    for kind in (np.uint8, np.int16, np.uint64, list):
        model.clear()
        given = [a[0].tolist() if kind is list else a[0].astype(kind) for a in operands]
        assert np.array_equal(model.step(*given), expected)


def test_a_measured_table_of_more_bits(model) -> None:
    loud = replace(SMALL, cell=MeasuredCurve((0.0, 0.3, 0.6, 0.9), (-120.0, -20.0, 5.0, 130.0)))
    truth = begun(model)
    model.load_table(loud.tables[0][:-1])
    assert np.abs(loud.tables[0]).max() > 1 << 13
    truth.spec = loud
    unharmed(model, truth)


def test_two_devices_at_once(tmp_path) -> None:
    """The same overlay on two boards: neither windows nor tables have anything in common."""
    places = (tmp_path / "a", "pynq-z2"), (tmp_path / "b", "aup-zu3")
    one, two = (load_overlay(package(folder, on=on), EmulatedDevice(on)) for folder, on in places)
    with one, two, ThreadPoolExecutor() as pool:
        truths = Truth(SMALL), Truth(other_cells(SMALL))
        two.model.load_table(truths[1].spec.tables[0])

        def talk(n: int) -> None:
            for number in range(40):
                agree((one, two)[n].model, truths[n], 1 + number % 5, 100 * n + number, number % LAYERS)

        list(pool.map(talk, range(2)))
        one.model.clear()
        truths[0].clear(None)
        for n, overlay in enumerate((one, two)):
            unharmed(overlay.model, truths[n])
        assert {o.model.device_tag for o in (one, two)} == {"emulated:pynq-z2", "emulated:aup-zu3"}


def test_threads_share_a_device_token_by_token(model) -> None:
    """Each thread has a layer; selecting it and sending are one step."""

    def talk(layer: int) -> bool:
        operands = draw(SMALL, 25, layer)
        found = [model.step(*(a[n : n + 1] for a in operands), layer=layer) for n in range(25)]
        return bool(np.array_equal(np.concatenate(found), sequence(SMALL, *operands)))

    with ThreadPoolExecutor(LAYERS) as pool:
        assert list(pool.map(talk, range(LAYERS))) == [True] * LAYERS


def test_downloading_again_begins_anew(overlay) -> None:
    begun(overlay.model)
    overlay.model.load_table(other_cells(SMALL).tables[0])
    overlay.download()
    assert overlay.model.cycles == overlay.model.tokens == 0
    unharmed(overlay.model, Truth(SMALL))
