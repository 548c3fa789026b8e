# SPDX-License-Identifier: Apache-2.0
"""Boards, clocks and designs: round trips and every refusal."""

import json
from pathlib import Path

import pytest
from overlay_designs import BOARDS, MODEL_ID, make

from hls4attn.models.errors import ModelFileError, SpecError, UnsupportedError
from hls4attn.models.formats import Fixed
from hls4attn.overlays.boards import Board, board, load_boards
from hls4attn.overlays.clocks import io_pll_mhz, pl_clock
from hls4attn.overlays.design import DmaSpec, OverlayDesign
from hls4attn.overlays.ports import StreamPort

# --- boards and clocks -------------------------------------------------------------------------------------


def test_the_five_boards_are_there_with_parts_that_split() -> None:
    assert sorted(load_boards()) == sorted(BOARDS)
    z2, kv = board("Pynq-Z2"), board("KV260")
    assert (z2.device, z2.package, z2.speed) == ("xc7z020", "clg400", "-1")
    assert (kv.device, kv.package, kv.speed) == ("xck26", "sfvc784", "-2LV-c")
    for name in BOARDS:
        b = board(name)
        assert b.part.replace("-", "") == (b.device + b.package + b.speed).replace("-", "")
        assert Board.from_dict(b.to_dict(), "here") == b


def test_unknown_board_lists_the_known_ones() -> None:
    with pytest.raises(UnsupportedError, match=r"'zedboard'.*aup-zu3, kv260, pynq-z1, pynq-z2, zcu104"):
        board("zedboard")


def test_extra_boards_add_and_replace(tmp_path: Path) -> None:
    extra = tmp_path / "mine.toml"
    extra.write_text(
        '[zybo]\nfamily="zynq"\npart="xc7z020clg400-1"\nboard_part="digilentinc.com:zybo-z7-20:part0:1.0"\n'
        "hp_width=64\nps_clock_mhz=33.333\ncma_mb=64\n"
    )
    assert board("zybo", extra).cma_mb == 64
    assert board("zybo", extra).lut is None
    assert "zybo" not in load_boards()


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("[x]\nfamily='zynq'", ModelFileError, r"\[x\]: wrong keys \(missing: board_part, cma_mb"),
        ("[x]\nfoo=1", ModelFileError, "unknown: foo"),
        ("x = 3", ModelFileError, "expected a table"),
        ("[x", ModelFileError, "not valid TOML"),
        ("[x]\nfamily='versal'", SpecError, "family must be one of"),
        ("[x]\npart='xc7z020'", SpecError, "is no zynq part"),
        ("[x]\nhp_width=48", SpecError, "hp_width"),
        ("[x]\nhp_width=true", ModelFileError, "hp_width must be int. Received: True"),
        ("[x]\ncma_mb=0", SpecError, "cma_mb"),
        ("[x]\nps_clock_mhz=1e9", SpecError, "ps_clock_mhz"),
        ("[x]\nlut=-1", SpecError, "lut must not be negative"),
        ("['X!']\nlut=1", SpecError, "board name"),
    ],
)
def test_malformed_board_files_are_refused(tmp_path: Path, text: str, error: type, match: str) -> None:
    good = {
        "family": "'zynq'",
        "part": "'xc7z020clg400-1'",
        "board_part": "'a:b:c:1.0'",
        "hp_width": "64",
        "ps_clock_mhz": "50.0",
        "cma_mb": "64",
    }
    _, _, line = text.partition("\n")
    if error is SpecError or "True" in match:  # complete the table, so that only the given line is wrong
        key = line.partition("=")[0]
        text += "".join(f"\n{k}={v}" for k, v in good.items() if k != key)
    path = tmp_path / "boards.toml"
    path.write_text(text)
    with pytest.raises(error, match=match):
        load_boards(path)


def test_missing_board_file() -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        load_boards(Path("nowhere.toml"))


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("mhz", [1.0, 33.0, 100.0, 123.4, 250.0])
def test_clock_is_the_fastest_not_above_the_request(name: str, mhz: float) -> None:
    clock = pl_clock(board(name), mhz)
    pll = io_pll_mhz(board(name))
    best = max(pll / n for n in {a * b for a in range(1, 64) for b in range(1, 64)} if pll / n <= mhz * (1 + 1e-6))
    assert clock.mhz == pytest.approx(best, abs=1e-6)
    assert clock.mhz == pytest.approx(pll / clock.div0 / clock.div1, abs=1e-6)


def test_well_known_clocks() -> None:
    assert pl_clock(board("pynq-z2"), 100).mhz == 100.0
    assert pl_clock(board("kv260"), 100).mhz == 99.999
    third = pl_clock(board("pynq-z2"), 33.333333)  # 1000/30, a little above the six digits of the request
    assert third.div0 * third.div1 == 30


@pytest.mark.parametrize("mhz", [0.01, 0, -5, 1e5, float("nan"), float("inf")])
def test_impossible_clocks_are_refused(mhz: float) -> None:
    with pytest.raises(SpecError, match="makes PL clocks of"):
        make(clock_mhz=mhz)


# --- design and JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOARDS)
def test_json_round_trip(name: str) -> None:
    design = make(on=name, dma=DmaSpec("dma", 20), ip="model")
    assert OverlayDesign.from_json(design.to_json()) == design
    assert OverlayDesign.from_json(design.to_json().encode()).to_json() == design.to_json()


def test_model_id_words_are_the_first_64_bits() -> None:
    low, high = make().model_id_words
    assert f"{high:08x}{low:08x}" == MODEL_ID[:16]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "1nn"}, "Overlay name"),
        ({"name": "../nn"}, "Overlay name"),
        ({"ip": "a b"}, "IP instance"),
        ({"ip": "axi_dma_0"}, "different instance names. Received twice: axi_dma_0"),
        ({"ip": "axi_gpio_0"}, "Received twice: axi_gpio_0"),
        ({"dma": DmaSpec("nn_kernel_0")}, "Received twice: nn_kernel_0"),
        ({"dma": DmaSpec("processing_system7_0")}, "Received twice: processing_system7_0"),
        ({"model_id": "abc"}, "SHA-256"),
        ({"model_id": MODEL_ID.upper()}, "SHA-256"),
        (
            {"dma": DmaSpec(length_width=8), "input": StreamPort((300,), Fixed(8, 0))},
            "limit of 255",
        ),
    ],
)
def test_impossible_designs_are_refused(changes: dict, match: str) -> None:
    with pytest.raises(SpecError, match=match):
        make(**changes)


@pytest.mark.parametrize("width", [7, 27])
def test_impossible_length_widths_are_refused(width: int) -> None:
    with pytest.raises(SpecError, match="c_sg_length_width"):
        DmaSpec(length_width=width)


def edited(**changes: object) -> str:
    data = make().to_dict()
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
        ("", "not valid JSON"),
        (make().to_json()[:-40], "truncated"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "expected a table"),
        ("3" * 5000, "not valid JSON"),
        ('{"name": "a", "name": "b"}', "key given twice: name"),
        (b"\xff\xfe", "not valid JSON"),
        (" " * (1 << 20) + "{}", "at most 1048576"),
        (edited(clock_mhz=float("nan")), "NaN is not a number"),
        (edited(kind="other"), "not an overlay design.*kind='other'"),
        (edited(version=2), "version=2"),
        (edited(extra=1), "unknown: extra"),
        (edited(model_id=...), "missing: model_id"),
        (edited(model_id=5), "model_id must be str"),
        (edited(clock_mhz="100"), "clock_mhz must be int or float"),
        (edited(clock_mhz=10**400), "int too large"),
        (edited(board__part="xc9"), "is no zynq part"),
        (edited(board__colour="red"), "board: wrong keys.*unknown: colour"),
        (edited(dma__length_width=40), "c_sg_length_width"),
        (edited(dma__length_width=True), "length_width must be int"),
        (edited(input__format="float32"), "Expected a format"),
        (edited(input__format="fixed<40,0>"), "up to 32 bits"),
        (edited(input__shape=[]), "axes of positive length"),
        (edited(input__shape=[0]), "axes of positive length"),
        (edited(input__shape=[2.0]), "axes of positive length"),
        (edited(input__shape=[True]), "axes of positive length"),
        (edited(input__shape=[1 << 13, 1 << 13]), "at most"),
        (edited(output=...), "missing: output"),
        (edited(ip="x/y"), "IP instance"),
    ],
)
def test_every_other_json_is_refused(text: str | bytes, match: str) -> None:
    with pytest.raises(ModelFileError, match=match):
        OverlayDesign.from_json(text)
