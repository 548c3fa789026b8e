# SPDX-License-Identifier: Apache-2.0
"""Typed graph -> hardware nodes -> lowered file: structure, names and refusals."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hls_models import classifier, consmax
from hls_typed import TypedMaker, random_graph

from hls4attn.hls import lower, lower_graph, read_design
from hls4attn.hls.design import KERNELS
from hls4attn.hls.emit import cpp_type, design_cpp, rom_cpp
from hls4attn.hls.hwfile import DOMAIN, to_onnx
from hls4attn.hls.layout import strides_of
from hls4attn.hls.scores import score_parameters
from hls4attn.models.errors import ModelFileError, UnsupportedError
from hls4attn.models.export import read_graph
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import SoftmaxSpec


def test_a_block_fuses_to_one_kernel_a_layer() -> None:
    design = lower_graph(read_graph(classifier(1, 8, 8, 16, consmax(2))))
    kinds = Counter(n.op for n in design.nodes)
    assert kinds == {
        "AttnDense": 8,
        "AttnMatMul": 2,
        "AttnConSmax": 1,
        "AttnAdd": 2,
        "AttnReduceSum": 1,
    }  # no copy for a transpose, none for a reshape, none for a bias, batch norm, ReLU or quantiser


def test_every_onnx_node_is_realised_once() -> None:
    graph = read_graph(classifier(1, 8, 8, 16, consmax(2)))
    design = lower_graph(graph)
    owners = Counter(s for n in design.nodes for s in n.sources)
    moved = {n.name for n in graph.nodes if n.op in ("Reshape", "Transpose")}
    computing = {n.name for n in graph.nodes} - moved
    assert all(owners[name] == 1 for name in computing)
    assert set(owners) <= computing | moved


def test_nodes_name_typed_tensors_with_their_formats() -> None:
    for seed in range(60):
        graph = random_graph(seed)
        design = lower_graph(graph)
        assert design.output == graph.output.name
        for node in design.nodes:
            for name, shape in node.tensors():
                tensor = graph.tensors[name]
                assert shape == tensor.shape
                assert (node.format.width, node.format.frac, node.format.signed) == (
                    tensor.format.width,
                    tensor.format.frac,
                    tensor.format.signed,
                )


def test_a_value_with_two_readers_is_not_fused_away() -> None:
    m = TypedMaker((4,), Fixed(6, 2))
    y = m.add("MatMul", "x", m.constant((4, 4), Fixed(4, 2)))
    both = m.add("Add", m.quant(y, Fixed(5, 1)), m.quant(y, Fixed(4, 0)))
    ops = [n.op for n in lower_graph(m.graph(both)).nodes]
    assert ops == ["AttnDense", "AttnAffine", "AttnAffine", "AttnAdd"]


def test_the_model_output_is_not_fused_away() -> None:
    m = TypedMaker((4,), Fixed(6, 2))
    y = m.add("MatMul", "x", m.constant((4, 4), Fixed(4, 2)))
    m.add("Relu", y)
    design = lower_graph(m.graph(y))
    assert design.nodes[0].output == y


@pytest.mark.parametrize("permutation", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_strides(permutation: tuple[int, ...]) -> None:
    index = np.arange(24).reshape(2, 3, 4).transpose(permutation)
    strides = strides_of(index)
    assert strides is not None
    for at in np.ndindex(*index.shape):
        assert sum(i * s for i, s in zip(at, strides, strict=True)) == index[at]


def test_no_strides_for_a_merged_transpose() -> None:
    assert strides_of(np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2).reshape(3, 8)) is None


def test_transposes_of_five_axes_are_refused() -> None:
    m = TypedMaker((32,), Fixed(4, 0))
    y = m.add("Transpose", m.reshape("x", (2,) * 5), permutation=(4, 3, 2, 1, 0))
    with pytest.raises(UnsupportedError, match=r"transpose1.*5 axes.*reshape neighbouring axes"):
        lower_graph(m.graph(y))


def test_sums_over_distant_axes_are_refused() -> None:
    m = TypedMaker((2, 3, 4), Fixed(4, 0))
    with pytest.raises(UnsupportedError, match=r"reducesum0.*not neighbours.*one axis after the other"):
        lower_graph(m.graph(m.add("ReduceSum", "x", axes=(0, 2))))


def test_rows_longer_than_a_softmax_adder_are_refused() -> None:
    m, spec = TypedMaker((1, 2, 9), Fixed(6, 2)), SoftmaxSpec(Fixed(6, 2), (0.5,), max_length=8)
    with pytest.raises(UnsupportedError, match="max_length=8"):
        m.score("x", spec)
    with pytest.raises(UnsupportedError, match="here: rows of 9 scores, but max_length=8"):
        score_parameters(spec, (1, 2, 9), "here")


def test_nothing_to_build_is_refused() -> None:
    m = TypedMaker((4,), Fixed(4, 0))
    with pytest.raises(UnsupportedError, match="nothing to build"):
        lower_graph(m.graph(m.reshape("x", (2, 2))))


def test_lowered_file_holds_everything_in_attributes() -> None:
    model = lower(classifier(1, 4, 4, 8, consmax(2)))
    onnx.checker.check_model(model)
    assert not model.graph.initializer
    assert {n.domain for n in model.graph.node} == {DOMAIN}
    assert {n.op_type for n in model.graph.node} <= set(KERNELS)


def test_lowered_file_round_trip() -> None:
    for seed in (0, 3, 7, 11):
        design = lower_graph(random_graph(seed))
        again = read_design(to_onnx(design))
        assert design_cpp(again, "top") == design_cpp(design, "top")
        assert [n.to_dict() for n in again.nodes] == [n.to_dict() for n in design.nodes]


def test_foreign_nodes_and_files_are_refused() -> None:
    model = lower(classifier(1, 4, 4, 8, consmax(2)))
    model.graph.node[0].domain = "somebody.else"
    with pytest.raises(UnsupportedError, match=r"somebody\.else::AttnDense"):
        read_design(model)
    model = lower(classifier(1, 4, 4, 8, consmax(2)))
    del model.graph.node[0].attribute[:3]
    with pytest.raises(ModelFileError, match="embed: the lowered node is incomplete"):
        read_design(model)
    with pytest.raises(UnsupportedError, match="lower the exported model first"):
        read_design(classifier(1, 4, 4, 8, consmax(2)))


@pytest.mark.parametrize(
    ("fmt", "text"),
    [
        (Fixed(8, 7), "ap_fixed<8, 1, AP_RND_CONV, AP_SAT>"),
        (Fixed(8, 9, False, "half_up", "wrap"), "ap_ufixed<8, -1, AP_RND, AP_WRAP>"),
        (Fixed(4, -2, True, "floor", "saturate_symmetric"), "ap_fixed<4, 6, AP_TRN, AP_SAT_SYM>"),
    ],
)
def test_cpp_types(fmt: Fixed, text: str) -> None:
    assert cpp_type(fmt) == text


@pytest.mark.parametrize(
    ("value", "ctype"), [(127, "signed char"), (-129, "short"), (40000, "int"), (1 << 40, "long long")]
)
def test_tables_use_the_smallest_type(value: int, ctype: str) -> None:
    assert rom_cpp("t", np.array([0, value])).startswith(f"static const {ctype} t[2] = ")
