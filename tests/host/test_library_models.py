# SPDX-License-Identifier: Apache-2.0
"""Overlays by name where models can be read: made on the fly, compared with built files, used by the verbs."""

import shutil

import numpy as np
import pytest
from command_line import command
from dense_model import make_design

pynq = pytest.importorskip("pynq")
from fake_board import FakeBoard, built_package  # noqa: E402

from hls4attn.hls.config import HlsConfig  # noqa: E402
from hls4attn.host import library  # noqa: E402
from hls4attn.host.building.plans import make_plan  # noqa: E402
from hls4attn.host.library import load, vectors_of  # noqa: E402
from hls4attn.models.errors import DeviceError, InputError  # noqa: E402
from hls4attn.models.zoo import zoo_model  # noqa: E402
from hls4attn.overlays.package import write_package  # noqa: E402

pytestmark = pytest.mark.usefixtures("pynq_state", "places")


@pytest.mark.compile
def test_a_laptop_makes_its_own():
    with load("digits", "pynq-z2", emulated=True, quiet=True) as overlay:
        model = overlay.model
        vectors = vectors_of(overlay.package.design.model_id)
        assert vectors.mismatches(model.predict_codes(vectors.inputs)) == 0
        assert overlay.package.design.name == "digits"
        assert model.device_tag == "emulated:pynq-z2"
        assert model.cycles > 0
        assert "not measured" in model.cycles_are


@pytest.mark.compile
def test_a_laptop_takes_built_files_of_the_same_model(places):
    made = library.overlay_flow("digits", "pynq-z2").package
    written = built_package(made.design, places / "first" / "pynq-z2")
    with load(emulated=True, board="pynq-z2", quiet=True) as overlay:
        assert overlay.package == written
        assert overlay.model.device_tag == "emulated:pynq-z2"


def test_files_of_another_model_are_refused(places):
    write_package(make_design(name="digits"), places / "first" / "pynq-z2")
    with pytest.raises(DeviceError, match=r"digits\.bit holds model .*remove the file, or build it again"):
        load(emulated=True, board="pynq-z2", quiet=True)


@pytest.mark.compile
def test_run_and_verify_use_a_built_overlay(places, capsys, monkeypatch):
    """`run MODEL` on a board: the built overlay of that very model, else the emulated board, and it says which."""
    from hls4attn.host.flow import Flow

    model = places / "my.onnx"
    shutil.copy(zoo_model("digits-vit").folder / "consmax.onnx", model)
    flow = Flow.open(model, board="pynq-z2")
    pynq.Device._devices = [FakeBoard("pynq-z2", {flow.design: flow.kernel()})]
    code, out, err = command(capsys, monkeypatch, "run", model)
    assert code == 0, err
    assert "my.onnx on emulated:pynq-z2" in out
    assert "not measured" in out
    built_package(flow.design, places / "first" / "pynq-z2")
    code, out, err = command(capsys, monkeypatch, "run", model, "--board", "pynq-z2")
    assert code == 0, err
    assert "my.onnx on board:pynq-z2" in out
    assert "counted by the logic" in out


@pytest.mark.compile
def test_a_laptop_makes_the_operators():
    with load("operators", "pynq-z2", emulated=True, quiet=True) as overlay:
        bank = overlay.model
        name = bank.names[0]
        codes = np.zeros((2, *bank.operator(name).input.shape), dtype=np.int64)
        assert bank.run(name, codes).shape == (2, *bank.operator(name).output.shape)
        assert bank.device_tag == "emulated:pynq-z2"


def test_gain_cells_are_made_on_the_fly_as_they_are_built():
    with load("gaincell", "pynq-z2", emulated=True, quiet=True) as overlay:
        design = overlay.package.design
        spec = design.spec
        zeros = np.zeros((2, spec.heads, spec.head_dim), dtype=np.int64)
        overlay.model.step(*(zeros + max(0, f.min) for f in spec.in_formats), layer=design.layers - 1)
        assert overlay.model.filled(design.layers - 1) == 2 and overlay.model.filled(0) == 0
        assert design == make_plan("gaincell", None, "pynq-z2", HlsConfig(part=design.board.part), False).design


@pytest.mark.parametrize(("name", "option"), [("gaincell", "reuse_factor"), ("operators", "clock_period_ns")])
def test_options_that_would_change_nothing_are_refused(name, option):
    with pytest.raises(InputError, match=f"{name} takes no choice of {option}"):
        load(name, "pynq-z2", emulated=True, quiet=True, **{option: 4})


def test_a_folder_that_cannot_be_searched_is_named(places):
    (places / "first" / "pynq-z2").mkdir(parents=True)
    with pytest.raises(InputError, match=r"Cannot look for overlay 'xxx.* in .*: File name too long"):
        library.find_overlay("x" * 300, "pynq-z2")
