# SPDX-License-Identifier: Apache-2.0
"""Overlays by name: where they are looked for, what comes first, and what is refused."""

import numpy as np
import pytest
from dense_model import dense, make_design, random_codes

pynq = pytest.importorskip("pynq")
from fake_board import FakeBoard, built_package  # noqa: E402

from hls4attn.host import library  # noqa: E402
from hls4attn.host.library import find_overlay, load, overlay_folders, vectors_of  # noqa: E402
from hls4attn.models.errors import DeviceError, InputError, ModelFileError  # noqa: E402
from hls4attn.overlays.package import write_package  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state", "places")


def digits(on="pynq-z2", **changes):
    """A design of the name, and usually not of the model, of the digits overlay."""
    return make_design(on=on, name="digits", **changes)


def real(design, on="pynq-z2"):
    device = FakeBoard(on, {design: dense})
    pynq.Device._devices = [device]
    return device


def test_places_in_order(places, monkeypatch):
    names = ["home/hls4attn/overlays", "first", "second", "package"]
    assert overlay_folders() == [places / name for name in names]
    assert overlay_folders("mine")[0].name == "mine"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.delenv("HLS4ATTN_OVERLAYS")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(overlay_folders()[0]) == "/home/somebody/.local/share/hls4attn/overlays"
    assert len(overlay_folders()) == 2


def test_the_first_place_wins(places):
    assert find_overlay("digits", "pynq-z2") is None
    for place in ("package", "second", "first", "home/hls4attn/overlays"):
        written = write_package(digits(), places / place / "pynq-z2")
        assert find_overlay("digits", "pynq-z2") == written
    written = write_package(digits(), places / "mine" / "pynq-z2")
    assert find_overlay("digits", "pynq-z2", places / "mine") == written
    assert find_overlay("digits", "zcu104") is None
    assert find_overlay("operators", "pynq-z2") is None


@pytest.mark.parametrize("inside", ["pynq-z2", "digits-pynq-z2/overlay", "."])
def test_the_forms_of_a_folder(places, inside):
    written = write_package(digits(), places / "first" / inside)
    assert find_overlay("digits", "pynq-z2").bit.samefile(written.bit)
    assert find_overlay("digits", "aup-zu3") is None  # also where no folder has the board's name


def test_a_damaged_file_is_not_passed_over(places):
    written = write_package(digits(), places / "first" / "pynq-z2")
    written.hwh.write_bytes(written.hwh.read_bytes()[:-10])
    with pytest.raises(ModelFileError, match="changed since its manifest"):
        find_overlay("digits", "pynq-z2")


def test_a_board_loads_the_built_files(places, capsys):
    design = digits()
    device = real(design)
    built_package(design, places / "first" / "pynq-z2")
    codes = random_codes(9)
    with load() as overlay:
        assert overlay.device is device
        assert np.array_equal(overlay.model.predict_codes(codes), dense(codes))
        assert overlay.model.device_tag == "board:pynq-z2"
    assert "hardware" in capsys.readouterr().err


def test_a_board_needs_built_files(places):
    real(digits())
    with pytest.raises(DeviceError, match=r"board:pynq-z2: no built overlay 'digits' for pynq-z2 in .*hls4attn build"):
        load(quiet=True)
    write_package(digits(), places / "first")
    with pytest.raises(DeviceError, match=r"digits\.bit only serves the emulated board"):
        load(quiet=True)


def test_a_board_that_does_not_say_its_name(places, monkeypatch):
    device = real(digits())
    device.name = "edge"
    with pytest.raises(DeviceError, match="does not say which board it is; name it: aup-zu3"):
        load(quiet=True)
    built_package(digits(), places / "first" / "pynq-z2")
    monkeypatch.setenv("BOARD", "Pynq-Z2")
    with load(quiet=True) as overlay:
        assert overlay.model.device_tag == "board:Pynq-Z2"
    with pytest.raises(DeviceError, match="This is a Pynq-Z2, not a kv260"):
        load(board="kv260", quiet=True)
    monkeypatch.delenv("BOARD")
    load(board="pynq-z2", quiet=True).close()


def test_a_laptop_takes_files_of_gain_cells(places):
    from hls4attn.host.board.gaincell_model import GainCellModel
    from hls4attn.models.operators import GainCellSpec
    from hls4attn.overlays.boards import board
    from hls4attn.overlays.gaincell import GainCellDesign

    design = GainCellDesign.of(GainCellSpec(heads=1, head_dim=8, window=8, tile=8), board("pynq-z2"))
    written = write_package(design, places / "first" / "pynq-z2")
    with load(design.name, "pynq-z2", emulated=True, quiet=True) as overlay:
        assert overlay.package == written
        assert isinstance(overlay.model, GainCellModel)


def test_unknown_names_are_refused():
    with pytest.raises(
        InputError, match=r"No overlay 'dogs' can be made here; known: digits, operators, gaincell, or an ONNX file"
    ):
        load("dogs", "pynq-z2", emulated=True, quiet=True)
    assert library.overlay_name("a/my-model.onnx") == "my_model"
    assert vectors_of("0" * 64) is None
