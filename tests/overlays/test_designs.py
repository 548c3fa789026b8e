# SPDX-License-Identifier: Apache-2.0
"""Designs: round trips and every refusal."""

import json

import pytest
from overlay_designs import BOARDS, MODEL_ID, make

from hls4attn.models.errors import ModelFileError, SpecError
from hls4attn.models.formats import Fixed
from hls4attn.overlays.design import DmaSpec, OverlayDesign
from hls4attn.overlays.ports import StreamPort


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
