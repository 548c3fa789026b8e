# SPDX-License-Identifier: Apache-2.0
"""Whole attention blocks with every score form and every normalisation, through hls4ml, tensor by tensor."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from hls_models import A8, ModelMaker
from hls_sole import ailayernorm, layernorm

from hls4attn.hls import CSim, HlsConfig, check_hls_model, convert, lower, lower_graph, read_design, register
from hls4attn.hls.emit import design_cpp
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export import Reference, random_codes, read_graph
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import E2ContextSpec, E2SoftmaxSpec, NormSpec, ScoreSpec

SEQ, WIDTH, HEADS = 6, 4, 2
SCORES = Fixed(8, 3)
SOFTMAX = E2SoftmaxSpec(SCORES, (0.5, 0.25))
SHIFT = E2ContextSpec(SCORES, (0.5, 0.25), v_format=A8, out_format=A8)
AILN = ailayernorm(WIDTH, 1, in_format=Fixed(9, 4), out_format=A8)
EXACT = layernorm(WIDTH, 2, in_format=Fixed(9, 4), out_format=A8)

#: Of each block: score form, first and second normalisation.
FORMS: dict[str, tuple[ScoreSpec | E2ContextSpec, NormSpec, NormSpec]] = {
    "two_pass": (SOFTMAX, AILN, EXACT),
    "online": (replace(SOFTMAX, slice_length=4, causal=True), EXACT, replace(AILN, squares="lut32")),
    "shift": (SHIFT, replace(AILN, squares="exact"), EXACT),
    "shift_online": (replace(SHIFT, slice_length=4, causal=True), EXACT, AILN),
}


@cache
def blocks(*names: str) -> onnx.ModelProto:
    """A chain of blocks."""
    m = ModelMaker("blocks", (SEQ, WIDTH), A8, 11)
    x = m.x
    for k, name in enumerate(names):
        spec, first, second = FORMS[name]
        x = m.block(x, (SEQ, WIDTH), spec, 5, f"block{k}", (first, second))
    return m.model(x)


@pytest.mark.compile
@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
def test_blocks_are_exact_tensor_by_tensor(tmp_path: Path, backend: str) -> None:
    proto = blocks(*FORMS)
    graph = read_graph(proto)
    sim = CSim(convert(proto, tmp_path / "p", HlsConfig(backend=backend, reuse_factor=3)))
    codes = random_codes(graph.input, 300, 3)
    expected, found = Reference(graph).trace(codes), sim.trace(codes)
    assert {n.output for n in graph.nodes if n.op in ("Norm", "Score")} <= set(found)
    for name, value in found.items():
        assert np.count_nonzero(value != expected[name]) == 0, name
        assert len(np.unique(value)) > 1
    assert len(np.unique(expected[graph.output.name])) > 50
    assert np.count_nonzero(sim.run(codes) != expected[graph.output.name]) == 0


def test_blocks_fuse_to_one_kernel_a_layer() -> None:
    kinds = Counter(n.op for n in lower_graph(read_graph(blocks(*FORMS))).nodes)
    assert kinds == {
        "AttnDense": 24,
        "AttnMatMul": 4 + 2,  # scores everywhere, the context only where probabilities are codes
        "AttnE2Softmax": 1,
        "AttnE2SoftmaxOnline": 1,
        "AttnE2Context": 1,
        "AttnE2ContextOnline": 1,
        "AttnAdd": 8,
        "AttnAILayerNorm": 4,
        "AttnIntegerLayerNorm": 4,
    }  # no transpose before or after the shift form, no requantisation behind it


def test_every_node_is_realised_once() -> None:
    graph = read_graph(blocks(*FORMS))
    owners = Counter(s for n in lower_graph(graph).nodes for s in n.sources)
    assert all(owners[n.name] == 1 for n in graph.nodes if n.op not in ("Reshape", "Transpose"))


def test_lowered_file_round_trip() -> None:
    design = lower_graph(read_graph(blocks(*FORMS)))
    again = read_design(lower(blocks(*FORMS)))
    assert design_cpp(again, "top") == design_cpp(design, "top")


@pytest.mark.compile
def test_a_changed_table_is_located(tmp_path: Path) -> None:
    """One gamma of the second block's first normalisation; what comes before it stays exact."""
    proto = blocks("two_pass", "shift")
    graph = read_graph(proto)
    made = convert(proto, tmp_path / "p")
    parameters = made.path / "firmware" / "parameters.h"
    head, tail = parameters.read_text().split("// block1_n1\n")
    at = tail.index("gamma")
    start = tail.index("{\n", at) + 2
    end = tail.index(",", start)
    parameters.write_text(f"{head}// block1_n1\n{tail[:start]}{-int(tail[start:end])}{tail[end:]}")
    codes = random_codes(graph.input, 100, 3)
    found, expected = CSim(made).trace(codes), Reference(graph).trace(codes)
    wrong = [name for name, value in found.items() if np.any(value != expected[name])]
    assert wrong[0] == "block1_n1"


def test_the_guard_compares_tables(tmp_path: Path) -> None:
    hls4ml = pytest.importorskip("hls4ml")
    register()
    design = lower_graph(read_graph(blocks("two_pass")))
    model = hls4ml.converters.convert_from_onnx_model(
        lower(blocks("two_pass")), output_dir=str(tmp_path / "p"), backend="Vitis", io_type="io_parallel"
    )
    check_hls_model(model, design)
    hw = next(n for n in model.get_layers() if n.name == "block0_n1").get_attr("hw")
    hw.roms["gamma"] = hw.roms["gamma"] + 1
    with pytest.raises(UnsupportedError, match="block0_n1: hls4ml changed its parameters"):
        check_hls_model(model, design)
