# SPDX-License-Identifier: Apache-2.0
"""Gain-cell heads between AXI4-Streams: tokens, clears, tables and layers, as `GainCellSim` has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gain_models import SPECS, random_codes

from hls4attn.hls import include_dir
from hls4attn.hls.axis_cells import CLEAR, CURRENT, LAYER_BIT, MAX_LAYERS, TABLE, TOKEN, gaincell_source
from hls4attn.hls.axis_sim import AxisSim, Packet
from hls4attn.hls.gaincell_sim import GainCellSim
from hls4attn.models.errors import InputError, SimulationError, SpecError, UnsupportedError
from hls4attn.models.formats import Codes
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_scaling import NonIdeality
from hls4attn.overlays.gaincell import token_ports
from hls4attn.overlays.packing import pack, unpack

LAYERS, WIDTH = 3, 14
NAMES = ("wraps", "levels of no power of two", "split tiles")


def word(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


class Both:
    """The kernel and, layer by layer, the heads that it should equal.

    The compiled kernel keeps its state as hardware does, so it is cleared and given its table first.
    """

    def __init__(self, name: str, folder: Path, header: tuple[str, str] | None = None) -> None:
        self.spec = SPECS[name][0]
        kernel = gaincell_source("cells", self.spec, LAYERS, WIDTH, folder, part="xc7z020", clock_period_ns=10)
        if header is not None:
            path = folder / "attn_gaincell_axis.h"
            text = path.read_text()
            assert text.count(header[0]) == 1
            path.write_text(text.replace(*header))
        self.sim = AxisSim(kernel)
        self.source, self.answer = token_ports(self.spec)
        self.layers = [GainCellSim(self.spec, WIDTH) for _ in range(LAYERS)]
        self.command(CLEAR, 1)
        self.load(*self.spec.tables)

    def command(self, kind: int, data: int, layer: int = 0) -> None:
        assert self.sim.run([Packet(word(data), kind | layer << LAYER_BIT)], 1, 0) == []

    def clear(self, layer: int) -> None:
        self.command(CLEAR, 0, layer)
        self.layers[layer].clear()

    def clear_all(self) -> None:
        self.command(CLEAR, 1, 1)
        for cells in self.layers:
            cells.clear()

    def load(self, keys: Codes, values: Codes) -> None:
        """Write a table, an abandoned part of another one first, and use it."""
        shared, window = self._own_values() == 0, self.spec.window
        table = keys[:window] if shared else np.concatenate([keys[:window], values[:window]], axis=1)
        packets = [Packet(word(77), CURRENT), Packet(word(0), TABLE)]
        packets += [Packet(word(int(c)), CURRENT) for c in table.ravel()]
        packets += [Packet(word(99), CURRENT), Packet(word(1), TABLE)]  # one word too many changes nothing
        assert self.sim.run(packets, len(packets), 0) == []
        for cells in self.layers:
            cells.load_table(keys, None if shared else values)

    def begin_a_table(self) -> None:
        """A whole table and a word too many, which nobody uses."""
        words = self.spec.window * (self.spec.k_levels + self._own_values())
        packets = [Packet(word(0), TABLE)] + [Packet(word(n), CURRENT) for n in range(words + 1)]
        assert self.sim.run(packets, len(packets), 0) == []

    def _own_values(self) -> int:
        """Levels of values that have currents of their own."""
        return 0 if self.spec.k_levels == self.spec.v_levels else self.spec.v_levels

    def wrong_tokens(self, layer: int, sizes: list[int], seed: int) -> int:
        """Packets of tokens of one layer; tokens that differ from the heads'."""
        q, k, v = random_codes(self.spec, sum(sizes), seed)
        packed = pack(np.stack([q, k, v], axis=1), self.source)
        parts = np.split(packed, np.cumsum(sizes)[:-1])
        packets = [Packet(part.tobytes(), TOKEN | layer << LAYER_BIT) for part in parts]
        out = self.sim.run(packets, sum(sizes), sum(sizes) * self.answer.sample_bytes // 4)
        assert [len(p) // self.answer.sample_bytes for p in out] == sizes
        found = np.concatenate([unpack(p, self.answer) for p in out])
        return int(np.any((found != self.layers[layer].step(q, k, v)).reshape(sum(sizes), -1), axis=1).sum())

    def wrong_of_a_walk(self, seed: int, steps: int = 30) -> int:
        """Tokens of random layers between clears and tables."""
        rng = np.random.default_rng(seed)
        wrong = 0
        for step in range(steps):
            layer, sizes = int(rng.integers(LAYERS)), rng.integers(1, 6, 3).tolist()
            wrong += self.wrong_tokens(layer, sizes, 1000 * seed + step)
            match int(rng.integers(8)):
                case 0:
                    self.clear(layer)
                case 1:
                    self.clear_all()
                case 2:
                    top = 1 << (WIDTH - 1)
                    tables = [rng.integers(-top, top, t.shape) for t in self.spec.tables]
                    self.load(tables[0], tables[1])
                case 3:
                    self.begin_a_table()
        return wrong


@pytest.mark.compile
@pytest.mark.parametrize("name", NAMES)
def test_the_kernel_is_the_heads(name: str, tmp_path: Path) -> None:
    assert Both(name, tmp_path).wrong_of_a_walk(5) == 0


@pytest.mark.compile
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("if (l == layer || order.data[0] == 1)", "if (order.data[0] == 1)"),
        ("if (l == layer || order.data[0] == 1)", "if (l == layer)"),
        ("at.base = layer * CONFIG_T::heads * CONFIG_T::window;", "at.base = 0;"),
        ("(half ? 0 : words) + int(address)", "(half ? words : 0) + int(address)"),
        pytest.param("half = half != (order.data[0] == 1);", "", marks=pytest.mark.slow),
        ("if (address < words) {", "{"),
        pytest.param("next[layer] = newest;", "next[0] = newest;", marks=pytest.mark.slow),
        pytest.param("k[first + d] = level<CONFIG_T::k", "k[d] = level<CONFIG_T::k", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_kernel_is_found(old: str, new: str, tmp_path: Path) -> None:
    assert Both("wraps", tmp_path, (old, new)).wrong_of_a_walk(5) > 0


@pytest.mark.compile
def test_the_table_at_power_up_is_the_specs(tmp_path: Path) -> None:
    """A process of its own: another test's kernel may have changed its table."""
    spec = SPECS["wraps"][0]
    kernel = gaincell_source("fresh", spec, 1, 12, tmp_path, part="xc7z020", clock_period_ns=10)
    q, k, v = random_codes(spec, 40, 3)
    source, answer = token_ports(spec)
    packet = Packet(pack(np.stack([q, k, v], axis=1), source).tobytes())
    (out,) = AxisSim(kernel).run([packet], 40, 40 * answer.sample_bytes // 4)
    assert np.array_equal(unpack(out, answer), GainCellSim(spec).step(q, k, v))


@pytest.mark.compile
def test_a_token_cut_short_leaves_the_kernel_waiting(tmp_path: Path) -> None:
    both = Both("wraps", tmp_path)
    with pytest.raises(SimulationError, match="in_r: read while it is empty"):
        both.sim.run([Packet(bytes(both.source.sample_bytes - 4))], 1, 8)


def test_the_folder_is_complete(tmp_path: Path) -> None:
    kernel = gaincell_source("cells", SPECS["wraps"][0], 2, 20, tmp_path, part="xczu3eg", clock_period_ns=5)
    assert {p.name for p in tmp_path.iterdir()} == {*kernel.files, *kernel.data}
    assert "attn_gaincell_axis.h" in kernel.data
    assert all((include_dir() / name).read_bytes() == (tmp_path / name).read_bytes() for name in kernel.data)
    assert (kernel.user_bits, kernel.includes, kernel.files) == (8, (".",), ("cells.cpp",))
    text = (tmp_path / "cells.cpp").read_text()
    assert "static int kept_currents[" in text  # 20 bits
    assert [name in text for name in ("variable=kept_filled", "RESET variable=kept_half")] == [True, False]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"name": "static"}, InputError, "C identifier"),
        ({"layers": 0}, SpecError, "1 to 64 layers. Received: 0"),
        ({"layers": MAX_LAYERS + 1}, SpecError, "1 to 64 layers. Received: 65"),
        ({"current_width": 6}, SpecError, "current_width=6 does not hold"),
        ({"spec": replace(SPECS["wraps"][0], head_dim=600)}, UnsupportedError, "600 codes.*smaller head_dim"),
        ({"spec": replace(SPECS["wraps"][0], nonideal=NonIdeality(0.1))}, UnsupportedError, "noise or spread"),
    ],
)
def test_what_cannot_be_built_is_refused(
    change: dict[str, object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    arguments: dict[str, object] = {"name": "cells", "spec": SPECS["wraps"][0], "layers": 1, "current_width": WIDTH}
    with pytest.raises(error, match=message):
        _source(tmp_path, **arguments | change)
    assert list(tmp_path.iterdir()) == []


def _source(folder: Path, name: str, spec: GainCellSpec, layers: int, current_width: int) -> None:
    gaincell_source(name, spec, layers, current_width, folder, part="xc7z020", clock_period_ns=10)
