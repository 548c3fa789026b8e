# SPDX-License-Identifier: Apache-2.0
"""The ladder finds differences, and says where they are."""

from contextlib import nullcontext

import numpy as np
import pytest

from hls4attn.host.ladder import SAMPLE_LIMITS, climb
from hls4attn.models.errors import InputError
from hls4attn.models.export.execute import Reference, random_codes
from hls4attn.models.export.reader import read_graph
from hls4attn.models.export.stages import OFF_GRID
from hls4attn.models.zoo import zoo_model

GRAPH = read_graph(zoo_model("digits-vit").folder / "consmax.onnx")
CODES = random_codes(GRAPH.input, 20, seed=0)


class Broken:
    """The reference with one element of one tensor changed, from a given sample on."""

    name = "broken"

    def __init__(self, tensor, element, first, value=None):
        self.tensor, self.element, self.first, self.value = tensor, element, first, value
        self.reference = Reference(GRAPH)

    def run(self, codes):
        out = self.reference.run(codes)
        out[self.first :, 0] += 1
        return out

    def trace(self, codes):
        values = self.reference.trace(codes)
        changed = values[self.tensor].copy()
        changed[(0, *self.element)] = self.value if self.value is not None else changed[(0, *self.element)] + 3
        return {**values, self.tensor: changed}


def climb_one(stage, codes=CODES):
    return next(climb(GRAPH, {stage.name: lambda: nullcontext(stage)}, codes))


def test_an_equal_stage_has_no_mismatch():
    stage = Reference(GRAPH)
    stage.name = "same"
    rung = climb_one(stage)
    assert rung.to_json() == {"stage": "same", "against": "reference", "samples": 20, "mismatches": 0}


@pytest.mark.parametrize(("tensor", "element"), [("block1_attention_score", (1, 3, 7)), ("tokens", (0, 31))])
def test_a_difference_is_located_by_sample_tensor_and_element(tensor, element):
    rung = climb_one(Broken(tensor, element, first=13))
    assert rung.mismatches == 7
    expected = int(Reference(GRAPH).trace(CODES[13:14])[tensor][(0, *element)])
    assert (rung.difference.sample, rung.difference.tensor, rung.difference.element) == (13, tensor, element)
    assert rung.to_json()["first"] == (
        f"first at sample 13, tensor {tensor}, element {list(element)}: "
        f"expected code {expected}, received code {expected + 3}"
    )


def test_values_off_the_grid_are_named_so():
    rung = climb_one(Broken("tokens", (0, 0), first=0, value=OFF_GRID))
    assert "received a value off the integer grid" in str(rung.difference)


def test_slow_stages_get_fewer_samples_and_say_so(monkeypatch):
    monkeypatch.setitem(SAMPLE_LIMITS, "same", 5)
    stage = Reference(GRAPH)
    stage.name = "same"
    assert climb_one(stage).samples == 5


def test_nothing_to_verify_is_no_success():
    with pytest.raises(InputError, match="0 samples"):
        climb_one(Broken("tokens", (0, 0), 0), np.empty((0, 8, 8), dtype=np.int64))
