# SPDX-License-Identifier: Apache-2.0
"""Boards and clocks: what is built in, what a user adds, and every refusal."""

import os
from pathlib import Path

import pytest
from overlay_designs import BOARDS, make

from hls4attn.models.errors import ModelFileError, SpecError, UnsupportedError
from hls4attn.overlays.boards import ENVIRONMENT, Board, board, load_boards, use_boards
from hls4attn.overlays.clocks import io_pll_mhz, pl_clock

ZYBO = (
    '[zybo]\nfamily="zynq"\npart="xc7z020clg400-1"\nboard_part="digilentinc.com:zybo-z7-20:part0:1.0"\n'
    "hp_width=64\nps_clock_mhz=33.333333\ncma_mb=64\n"
)


def test_the_seven_boards_are_there_with_parts_that_split() -> None:
    assert sorted(load_boards()) == sorted(BOARDS)
    z2, kv, rf = board("Pynq-Z2"), board("KV260"), board("RFSoC4x2")
    assert (z2.device, z2.package, z2.speed) == ("xc7z020", "clg400", "-1")
    assert (kv.device, kv.package, kv.speed) == ("xck26", "sfvc784", "-2LV-c")
    assert (rf.device, rf.package, rf.speed) == ("xczu48dr", "ffvg1517", "-2-e")
    assert [b.speed_grade for b in (z2, kv, rf)] == ["-1", "-2LV", "-2"]
    for name in BOARDS:
        b = board(name)
        assert b.part.replace("-", "") == (b.device + b.package + b.speed).replace("-", "")
        assert Board.from_dict(b.to_dict(), "here") == b
        assert b.hp_width == (64 if b.family == "zynq" else 128)
        assert None not in (b.lut, b.ff, b.dsp, b.bram36)


def test_releases_of_pynq_on_each_board() -> None:
    """4.0 knows no Zynq-7000; every tested release has a board, every board a release."""
    releases = {name: set(b.pynq) for name, b in load_boards().items()}
    assert set.union(*releases.values()) == {"3.0.1", "3.1.2", "4.0.0"}
    assert all(releases.values())
    assert not any("4.0.0" in releases[name] for name, b in load_boards().items() if b.family == "zynq")


def test_unknown_board_lists_the_known_ones() -> None:
    with pytest.raises(
        UnsupportedError, match=r"'zedboard'.*aup-zu3, kv260, pynq-z1, pynq-z2, pynq-zu, rfsoc4x2, zcu104.*--boards"
    ):
        board("zedboard")


def test_extra_boards_add_and_replace(tmp_path: Path) -> None:
    extra = tmp_path / "mine.toml"
    extra.write_text(ZYBO + 'pynq=["3.0.1"]\n' + ZYBO.replace("zybo]", "pynq-z1]"))
    mine = board("zybo", extra)
    assert (mine.cma_mb, mine.lut, mine.pynq, mine.io_pll_feedback) == (64, None, ("3.0.1",), 30)
    assert io_pll_mhz(mine) == pytest.approx(1000, rel=1e-6)
    assert (board("pynq-z1", extra).cma_mb, board("pynq-z1").cma_mb) == (64, 128)
    assert "zybo" not in load_boards()


def test_the_environment_names_a_file_and_an_argument_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = tmp_path / "mine.toml", tmp_path / "other.toml"
    mine.write_text(ZYBO)
    other.write_text(ZYBO.replace("cma_mb=64", "cma_mb=32"))
    monkeypatch.setenv(ENVIRONMENT, str(mine))
    assert board("zybo").cma_mb == 64
    assert board("zybo", other).cma_mb == 32
    monkeypatch.setenv(ENVIRONMENT, "")  # an empty variable is none
    assert "zybo" not in load_boards()
    monkeypatch.setenv(ENVIRONMENT, "nowhere.toml")
    with pytest.raises(ModelFileError, match=rf"nowhere.toml: no such file \(the file is named by {ENVIRONMENT}\)"):
        board("pynq-z2")


def test_boards_in_use_are_known_to_children_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "")
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(ZYBO)
    use_boards(None)
    assert "zybo" not in load_boards()
    use_boards(Path("mine.toml"))
    assert Path(os.environ[ENVIRONMENT]) == tmp_path / "mine.toml"  # absolute: a child may run elsewhere
    assert "zybo" in load_boards()
    with pytest.raises(ModelFileError, match="no such file"):
        use_boards(Path("other.toml"))
    assert "zybo" in load_boards()  # a refused file is not in use


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
        ("[x]\nio_pll_feedback=3", SpecError, "io_pll_feedback must be 10 to 125. Received: 3"),
        ("[x]\npynq='3.1.2'", ModelFileError, "pynq must be list"),
        ("[x]\npynq=['3']", SpecError, "pynq lists releases such as '3.1.2'. Received: '3'"),
        ("[x]\npynq=[3.1]", SpecError, "pynq lists releases"),
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
    if error is SpecError or "must be" in match:  # complete the table, so that only the given line is wrong
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
    assert pl_clock(board("kv260"), 150).mhz == pytest.approx(999.99 / 7, abs=1e-6)  # its IO PLL runs at 1 GHz
    assert pl_clock(board("aup-zu3"), 150).mhz == pytest.approx(149.9985, abs=1e-6)  # most boards' at 1.5 GHz
    third = pl_clock(board("pynq-z2"), 33.333333)  # 1000/30, a little above the six digits of the request
    assert third.div0 * third.div1 == 30


@pytest.mark.parametrize("mhz", [0.01, 0, -5, 1e5, float("nan"), float("inf")])
def test_impossible_clocks_are_refused(mhz: float) -> None:
    with pytest.raises(SpecError, match="makes PL clocks of"):
        make(clock_mhz=mhz)
