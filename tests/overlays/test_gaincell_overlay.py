# SPDX-License-Identifier: Apache-2.0
"""The overlay of gain cells: identity, files, register map, and every refusal."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from overlay_designs import BOARDS, cells, make

from hls4attn.models.errors import ModelFileError, SpecError, UnsupportedError
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_curve import LINEAR_CELL
from hls4attn.models.operators.gain_scaling import NonIdeality, Scalers
from hls4attn.overlays import hwh, registers
from hls4attn.overlays.design import DmaSpec, OverlayDesign
from hls4attn.overlays.gaincell import GainCellDesign, cells_id, in_logic, table_of
from hls4attn.overlays.hwh_check import check_hwh
from hls4attn.overlays.package import read_package, write_package
from hls4attn.overlays.packing import pack, unpack
from hls4attn.overlays.ports import StreamPort

SPEC = GainCellSpec(heads=2, head_dim=6, window=8, tile=4)


@pytest.mark.parametrize("name", BOARDS)
def test_json_and_package_round_trip(tmp_path: Path, name: str) -> None:
    design = cells(on=name, current_width=15, name="heads", clock_mhz=50.0)
    assert GainCellDesign.from_json(design.to_json()) == design
    written = write_package(design, tmp_path)
    for path in (written.bit, written.hwh, written.manifest, tmp_path):
        assert read_package(path) == written
    assert isinstance(read_package(tmp_path).design, GainCellDesign)


def test_a_token_on_the_stream() -> None:
    """q, k and v of all heads, a byte each; sums of 2 tiles, up to +-32, a byte each."""
    design = cells()
    assert design.input == StreamPort((3, 2, 6), Fixed(4, 0, signed=False))
    assert (design.input.sample_bytes, design.input.pad_bytes) == (36, 0)
    assert design.output == StreamPort((2, 6), SPEC.out_format)
    assert (design.output.sample_bytes, design.output.pad_bytes) == (12, 0)
    tokens = np.arange(2 * 36).reshape(2, 3, 2, 6) % 8
    assert bytes(pack(tokens, design.input)[1]) == bytes(tokens[1].ravel().tolist())
    odd = cells(replace(SPEC, heads=1, head_dim=3, scalers=None))
    assert (odd.input.sample_bytes, odd.input.pad_bytes, odd.output.pad_bytes) == (12, 3, 1)
    packed = pack(np.ones((1, 1, 3), dtype=int), odd.output)
    assert bytes(packed[0]) == b"\1\1\1\0"
    assert np.array_equal(unpack(packed, odd.output), np.ones((1, 1, 3)))


def test_the_table_is_the_reference_s() -> None:
    assert np.array_equal(table_of(SPEC), SPEC.tables[0][:8])
    uneven = replace(SPEC, k_levels=4)
    assert np.array_equal(table_of(uneven), np.concatenate([t[:8] for t in uneven.tables], axis=1))
    assert cells().table.shape == (8, 8)


def test_the_identity_is_that_of_the_logic() -> None:
    """Whatever the host keeps to itself gives the same logic; anything else gives another one."""
    same = [
        replace(SPEC, slope=1.0),
        replace(SPEC, scalers=Scalers(*((2.0, 3.0), (0.5, 0.25)) * 4)),
    ]
    assert {cells(s).model_id for s in same} == {cells().model_id}
    assert {cells(s) for s in map(in_logic, same)} == {cells()}
    other = [
        replace(SPEC, **change)
        for change in (
            {"heads": 3, "scalers": None},
            {"head_dim": 7},
            {"window": 12},
            {"tile": 2},
            {"tiling": "absolute"},
            {"q_levels": 15},
            {"k_levels": 4},
            {"v_levels": 4},
            {"out_levels": 31},
            {"pulse_steps": 300},
            {"current_frac": 6},
            {"leak": 0.01},
            {"vdd": 0.8, "scalers": None},
            {"score_saturation": 70.0},
            {"context_saturation": 30.0},
            {"cell": LINEAR_CELL},
        )
    ]
    identities = {cells_id(s, 2, 16) for s in (SPEC, *other)} | {cells_id(SPEC, 3, 16), cells_id(SPEC, 2, 17)}
    assert len(identities) == len(other) + 3


def test_impossible_designs_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="noise or spread"):
        cells(replace(SPEC, nonideal=NonIdeality(read_noise=0.1)))
    for layers in (0, 65):
        with pytest.raises(SpecError, match=f"1 to 64 layers. Received: {layers}"):
            cells(layers=layers)
    for width in (11, 33):  # the currents' own: +-1322
        with pytest.raises(SpecError, match="current_width must be 12 "):
            cells(current_width=width)
    with pytest.raises(SpecError, match="input sample is 300 bytes, above the DMA's limit"):
        cells(GainCellSpec(heads=1, head_dim=100), dma=DmaSpec(length_width=8))
    for name, value in (("model_id", "0" * 64), ("input", make().input), ("output", make().output)):
        with pytest.raises(SpecError, match=f"{name} is not that of the spec"):
            replace(cells(), **{name: value})


def damaged(**changes: object) -> str:
    data = cells().to_dict()
    for path, value in changes.items():
        target = data
        *parents, last = path.split("__")
        for key in parents:
            target = target[key]
        if value is ...:
            del target[last]
        else:
            target[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (make().to_json(), "kind='hls4attn-overlay-design'"),
        (damaged(layers=...), "missing: layers"),
        (damaged(layers=3), "model_id is not that of the spec"),
        (damaged(layers=2.0), "layers must be int"),
        (damaged(spec__leak=0.5), "model_id is not that of the spec"),
        (damaged(spec__tile=3), "tile=3 does not divide"),
        (damaged(spec__heads=...), "spec: .*heads"),
        (damaged(spec=[]), "spec must be dict"),
        (damaged(spec={}), "spec: "),
        (damaged(current_width=40), "current_width must be"),
        (damaged(colour="red"), "unknown: colour"),
    ],
)
def test_every_other_json_is_refused(text: str, match: str) -> None:
    with pytest.raises(ModelFileError, match=match):
        GainCellDesign.from_json(text)


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_damaged_specs_are_refused_and_nothing_else_happens() -> None:
    """Any value of a spec replaced by anything: refused as a file, or the same logic."""
    design = cells()
    for key in design.spec.to_config():
        for junk in (None, "x", -1, 10**30, 1e308, [], [[1, 2], [3]], {"a": 1}, True, "9" * 5000):
            try:
                found = GainCellDesign.from_json(damaged(**{f"spec__{key}": junk}))
            except ModelFileError:
                continue
            assert found.model_id == design.model_id


def test_a_package_of_another_kind_or_spec_is_refused(tmp_path: Path) -> None:
    mine, other = write_package(cells(), tmp_path / "a"), write_package(cells(replace(SPEC, leak=0.5)), tmp_path / "b")
    mine.manifest.write_bytes(other.manifest.read_bytes())
    with pytest.raises(ModelFileError, match="changed since its manifest"):
        read_package(mine.bit)
    with pytest.raises(ModelFileError, match="gaincell_0 is a 'hls4attn:hls:stream_model:1.0'"):
        check_hwh(hwh.parse_hwh(hwh.build_hwh(make(ip="gaincell_0"))), cells())


def test_the_handoff_holds_the_register_map() -> None:
    design = cells()
    root = hwh.parse_hwh(hwh.build_hwh(design))
    check_hwh(root, design)
    ip = next(m for m in root.iter("MODULE") if m.get("INSTANCE") == "gaincell_0")
    assert ip.get("VLNV") == "hls4attn:hls:gaincell:1.0"
    found = {
        register.get("NAME"): next(
            int(p.get("VALUE", ""), 16) for p in register.findall("PROPERTY") if p.get("NAME") == "ADDRESS_OFFSET"
        )
        for register in ip.iter("REGISTER")
    }
    assert found == {r.name: r.offset for r in registers.CELL_REGISTERS}
    assert len(set(found.values())) == len(found) == 12
    assert type(OverlayDesign.from_json(make().to_json())) is OverlayDesign
    for register in registers.CELL_REGISTERS:
        used = sum(((1 << f.width) - 1) << f.offset for f in register.fields)
        assert used.bit_length() <= 32
        assert used.bit_count() == sum(f.width for f in register.fields)  # no two fields overlap
