# SPDX-License-Identifier: Apache-2.0
"""Counted resources against figures worked out by hand, and what must hold for all of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import stream_nodes as made
from attention_cases import consmax
from hls_inventory import compiled, inventory
from hls_rows import make
from hypothesis import given
from hypothesis import strategies as st

from hls4attn.hls.design import HwNode
from hls4attn.hls.lowering import lower_graph
from hls4attn.hls.stream.attention import with_structure
from hls4attn.hls.stream.kernels import parallel_resources, stream_resources
from hls4attn.hls.stream.resources import Memory, Parts, Resources, dsp_slices, total
from hls4attn.hls.stream.units import lane_banks
from hls4attn.host.bench.attention import SPECS, attention
from hls4attn.models.export.reader import read_graph
from hls4attn.models.formats import Fixed
from hls4attn.models.zoo import zoo_model

CONSMAX = "AttnAttentionConSmax"
NORMS = ("layernorm", "ailayernorm", "ailayernorm_lut32", "ailayernorm_exact")
MODELS = ("consmax", "softmax", "sole")


def memories(found: Resources) -> dict[str, Memory]:
    return {m.what: m for m in found.memories}


# ---- rules, by hand --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (8, 8, 1),
        (25, 18, 1),
        (18, 25, 1),
        (26, 18, 2),  # 25 + 1
        (25, 19, 2),  # 18 + 1
        (26, 19, 2),  # 19 in the wide port, 26 as 18 + 8
        (26, 26, 4),
        (32, 18, 2),  # 25 + 7 (of 24)
        (49, 17, 2),  # 25 + 24
        (50, 17, 3),  # as 50 x 18 in pieces of 25, 24 and 1
        (19, 19, 2),  # one operand in the wide port, the other in two pieces
    ],
)
def test_slices_of_a_multiplier(a, b, expected):
    assert dsp_slices(a, b) == dsp_slices(b, a) == expected


def test_ultrascale_slices_are_wider():
    assert (dsp_slices(27, 18), dsp_slices(27, 18, (27, 18))) == (2, 1)
    found = Resources(multipliers=(((27, 18), 3), ((8, 6), 2)))
    assert (found.dsp("zynq"), found.dsp("zynquplus")) == (3 * 2 + 2, 3 + 2)
    assert (found.multiplier_count, found.narrow_count, found.narrow_lut) == (5, 2, 2 * 8 * 6)


@pytest.mark.parametrize(
    ("count", "words", "width", "bram18", "lut"),
    [
        (1, 512, 36, 1, 0),
        (1, 512, 37, 2, 0),
        (1, 1024, 18, 1, 0),
        (1, 1024, 19, 2, 0),  # two of 1024 x 18
        (1, 2048, 9, 1, 0),
        (1, 16384, 1, 1, 0),
        (1, 16385, 1, 2, 0),
        (1, 256, 96, 3, 0),  # ceil(96 / 36)
        (1, 600, 36, 2, 0),  # 2 of 1024 x 18, or 2 * 1 of 512 x 36
        (8, 128, 8, 8, 0),  # 1024 bits and 64 words or more: a block each
        (8, 127, 8, 0, 8 * 8 * 4),  # 1016 bits: 8 x ceil(127 / 32)
        (1, 63, 512, 0, 512 * 2),
        (1, 64, 512, 15, 0),  # ceil(512 / 36)
        (3, 2, 8, 0, 24),
    ],
)
def test_memory_in_blocks_or_in_luts(count, words, width, bram18, lut):
    memory = Memory("bank", "ram", count, words, width)
    assert (memory.bram18, memory.lut) == (bram18, lut)
    assert memory.bits == count * words * width


def test_small_roms_and_single_words():
    assert Memory("table", "rom", 2, 60, 9).lut == 2 * 9 * 1  # 64 bits a LUT
    assert Memory("weights", "rom", 1, 1, 500).lut == 0  # constants
    word = Memory("word", "fifo", 2, 1, 30)
    assert (word.lut, word.ff) == (0, 60)


def test_adders_selections_shifters():
    parts = Parts(processes=2)
    parts.add(3, 20)  # 60 LUT, 60 FF
    parts.choose(8, 16)  # 8 * ceil(15 / 3) = 40 LUT
    parts.shift(2, 10, 15)  # 2 * 10 * ceil(4 / 2) = 40 LUT, 20 FF
    parts.hold(7)
    assert (parts.done().logic_lut, parts.done().logic_ff) == (200 + 60 + 40 + 40, 200 + 60 + 20 + 7)


# ---- kernels, by hand ------------------------------------------------------------------------------------------------


def test_dense():
    """8 x 4 of 32 x 10 weights at a time, 4 results scaled: 4 * 3 = 12 words of weights, 3 of each lane's scales."""
    found = stream_resources(made.dense(16, 32, 10, 8, 4, scale_by=2, scale_width=7))
    assert found.multipliers == (((8, 6), 8 * 4), ((20, 7), 4))
    assert found.dsp() == 36
    assert memories(found)["weights"] == Memory("weights", "rom", 1, 4 * 3, 8 * 4 * 6)
    assert memories(found)["scale"] == Memory("scale", "rom", 4, 3, 7)
    # process 100, 32 adders of 20, inputs 8 of 8 bits out of 4 groups, tail 4 * (20 + 8)
    assert found.logic_lut == 100 + 32 * 20 + 8 * 8 * 1 + 4 * 28
    # process, adders, tail, a row of inputs, a row of results
    assert found.logic_ff == 100 + 32 * 20 + 4 * 28 + 32 * 8 + 10 * 8


def test_attention_banks_and_products():
    """2 of 4 heads, 3 keys and 4 of 8 elements at a time; 16 rows make 6 slices; 2 groups * 2 chunks a row."""
    found = stream_resources(
        made.attention(CONSMAX, 16, 4, 8, lanes=3, parallel_heads=2, width=4, score_scale_by=1, score_scale_width=5)
    )
    assert found.multipliers == (((8, 8), 24), ((9, 8), 24), ((20, 5), 6))  # Q K^T, P V, scale of 2 * 3 scores
    banks = memories(found)
    assert banks["keys"] == Memory("keys", "ram", 2 * 3, 6 * 4, 2 * 4 * 8)
    assert banks["values"] == Memory("values", "ram", 2 * 3, 6 * 4, 2 * 4 * 8)
    assert banks["scores"] == Memory("scores", "fifo", 1, 2, 6 * 8)
    assert banks["table"] == Memory("table", "rom", 3, 4 * 256, 9)  # two of six lanes a copy
    assert found.bits("ram") == 2 * 2 * (18 * 4 * 8 * 8)  # two halves of K and V, 16 rows rounded up to 18


def test_attention_stages():
    def of(op, **ints):
        return stream_resources(made.attention(op, 16, 2, 8, lanes=4, width=8, latency=9, **ints))

    softmax = memories(of("AttnAttentionSoftmax"))
    assert softmax["waiting"].words == 2 * 4
    assert (softmax["exps"].words, softmax["exps"].width) == (2 * 4 + 2 * 9 + 2, 4 * 17)
    assert softmax["ratios"].words == 28 // 4
    assert dict(of("AttnAttentionSoftmax").multipliers)[17, 14] == 4  # e * r

    online = memories(of("AttnAttentionE2Softmax", slice_length=8))
    assert (online["waiting"].words, online["codes"].words, online["tops"].words) == (2 * 2, 2 * 4, 2 * 2)
    assert dict(of("AttnAttentionE2Softmax").multipliers) == {(8, 8): 32, (9, 8): 32}

    # shifts instead of P V; 8 sums of 15 + 8 + 5 bits are divided
    assert dict(of("AttnAttentionE2Context").multipliers) == {(8, 8): 32, (28, 9): 8}
    folded = dict(of("AttnAttentionE2Context", folded=1).multipliers)
    assert folded[9, 6] == 4 + 1  # Log2Exp of four lanes and of the maximum


@pytest.mark.parametrize(
    ("op", "scored", "weighed", "own"),
    [
        (CONSMAX, 24, 24, 0),
        ("AttnAttentionConSmaxSplit", 24, 24, 6),  # two nibbles: one product a score
        ("AttnAttentionSoftmax", 24, 24, 6),
        ("AttnAttentionE2Softmax", 24, 24, 0),
        ("AttnAttentionE2Context", 24, 8, 0),
    ],
)
def test_multipliers_of_an_attention(op, scored, weighed, own):
    """As the README says: 2 heads, 3 keys, 4 elements; 6 scores and 8 results at a time."""
    parts = {"lanes": 3, "parallel_heads": 2, "width": 4, "latency": 5}
    assert stream_resources(made.attention(op, 16, 4, 8, **parts)).multiplier_count == scored + weighed + own
    scales = {"score_scale_by": 1, "score_scale_width": 5, "scale_by": 2, "scale_width": 4}
    found = stream_resources(made.attention(op, 16, 4, 8, **parts, **scales))
    assert found.multiplier_count == scored + weighed + own + 6 + 8
    assert memories(found)["scale"] == Memory("scale", "rom", 4, 2, 4)  # of 8 elements of a head, 4 at a time


def test_layernorm():
    """4 lanes of 12 channels: squares; C Ex2 and Ex^2; C x, r * gamma, their product."""
    found = stream_resources(made.layernorm(5, 12, 4))
    assert dict(found.multipliers) == {
        (8, 8): 4,
        (19, 5): 1,  # sum of squares: 14 + 4 + 1 bits; C: 4 + 1
        (12, 12): 1,  # sum: 8 + 4
        (8, 5): 4,
        (19, 8): 4,  # 16 + 3; gamma
        (27, 13): 4,  # the two; 12 + 1
    }
    assert memories(found)["gamma"] == Memory("gamma", "rom", 4, 3, 8)


def test_ailayernorm():
    """4 lanes of 12 channels; codes of 9 + 3 bits wait; squares are logic, whatever their number."""
    found = stream_resources(made.ailayernorm(5, 12, 4, latency=7))
    assert dict(found.multipliers) == {
        (8, 4): 4,  # quantiser: 8 bits by 5
        (19, 16): 1,  # sum: 9 + 3 + 4 bits, by the reciprocal
        (27, 19): 1,  # sum of squares: 12 + 6 + 4 + 1 bits and 4 of the unit
        (16, 16): 1,  # mean: 9 + 3 + 4
        (10, 8): 4,  # reciprocal root and gamma
        (17, 17): 4,  # the two; 10 + 3 + 4
    }
    parts = memories(found)
    assert parts["codes"] == Memory("codes", "fifo", 1, 1 + 3, 12 * (9 + 3))  # 1 + ceil((7 + 2) / 3) rows
    assert parts["sums"] == Memory("sums", "fifo", 1, 2, 16 + 23)
    assert parts["factors"] == Memory("factors", "fifo", 1, 2, 16 + 10 + 8)
    assert parts["alpha"] == Memory("alpha", "rom", 4, 3, 2)
    assert parts["rsqrt"] == Memory("rsqrt", "rom", 1, 64, 10)
    exact = stream_resources(made.ailayernorm(5, 12, 4, latency=7, squares=2))
    assert "squares" not in memories(exact)
    assert exact.bram36 == found.bram36
    assert exact.logic_lut > found.logic_lut + 4 * 256 * 17 // 64 - 4 * 16 * 13 // 64


@pytest.mark.parametrize(
    ("lanes", "rows", "channels", "banks", "words"),
    [
        (4, 5, 12, 4, 15),  # a lane's own: 5 rows of 3
        (5, 5, 12, 60, 1),  # lanes shift from row to row: logic
        (5, 90, 12, 12, 90),  # the same, too many for logic: one a channel
    ],
)
def test_constants_of_every_element(lanes, rows, channels, banks, words):
    found = stream_resources(made.elementwise("AttnAffine", rows, channels, lanes, offset_by=3, offset_width=7))
    assert memories(found)["offset"] == Memory("offset", "rom", banks, words, 7)


def test_the_trained_model_without_reuse():
    """Every weight and every product of the attention is a multiplier: why it does not fit."""
    nodes = lower_graph(read_graph(zoo_model("digits-vit").folder / "consmax.onnx")).nodes
    found = total(parallel_resources(n, 1) for n in nodes)
    dense = 4 * 32 + 2 * (4 * 32 * 32 + 2 * 32 * 64) + 32 * 10
    products = 2 * 2 * 16 * 16
    tails = 4 * 32 + 32  # residuals and pooling scale 32 channels
    assert found.multiplier_count == found.dsp() == dense + products + tails


# ---- properties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_more_reuse_never_takes_more_multipliers(model):
    nodes = lower_graph(read_graph(zoo_model("digits-vit").folder / f"{model}.onnx")).nodes
    for node in nodes:
        counts = [parallel_resources(node, reuse).dsp() for reuse in (1, 2, 3, 4, 8, 64, 4096)]
        assert counts == sorted(counts, reverse=True), node.name


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70))
def test_a_wider_operand_never_takes_fewer_slices(a, b, more):
    assert dsp_slices(a + more, b) >= dsp_slices(a, b) >= 1
    assert dsp_slices(a, b) >= a * b / (25 * 18)


@given(st.integers(1, 40000), st.integers(1, 2000))
def test_blocks_hold_what_they_should(words, width):
    memory = Memory("m", "ram", 1, words, width)
    if memory.in_logic:
        assert memory.lut * 32 + memory.ff >= memory.bits
        assert words < 64 or memory.bits < 1024
    else:
        assert memory.bram18 * 18432 >= memory.bits


@given(st.sampled_from(sorted(made.MEMBERS)), st.integers(1, 6), st.sampled_from([1, 2, 4]), st.integers(1, 8))
def test_attention_holds_every_key_and_value(op, lanes, parallel, width):
    node = made.attention(op, 13, 4, 8, lanes, parallel, width, latency=5)
    found = stream_resources(node)
    assert found.bits("ram") >= 2 * 2 * 13 * 32 * 8
    products = parallel * lanes * width
    both = found.multiplier_count - (0 if op != "AttnAttentionE2Context" else parallel * width)
    assert both >= (products if op == "AttnAttentionE2Context" else 2 * products)


def test_totals_add_up():
    parts = [stream_resources(made.dense(4, 8, 8, 2, 2)), stream_resources(made.layernorm(4, 8, 2))]
    both = total(parts)
    for name in ("multiplier_count", "lut", "ff", "bram36"):
        assert getattr(both, name) == sum(getattr(p, name) for p in parts)
    assert both.dsp("zynquplus") == sum(p.dsp("zynquplus") for p in parts)


# ---- against the headers ---------------------------------------------------------------------------------------------


def attentions() -> list[HwNode]:
    """Every score function, two heads and 3 of 4 elements at a time."""
    found = []
    for score in sorted(SPECS):
        for causal in (False, True):
            spec = SPECS[score](4, 2)
            spec = replace(spec, causal=causal)
            found.append(with_structure(attention(spec, 12, 4, 2), 2, 2, 3))
    return [*found, attention(consmax(split=True, in_format=Fixed(16, 11)), 12, 4, 1)]


@pytest.mark.compile
def test_fifos_and_banks_are_those_of_the_headers(tmp_path):
    """Depths and widths, to the bit, of every FIFO and bank inside attention and normalisations."""
    norms = [make(seed, kind).node for kind in NORMS for seed in (0, 1)]
    nodes = [*attentions(), *norms]
    for node, declared in zip(nodes, inventory(nodes, tmp_path), strict=True):
        made_of = [m for m in stream_resources(node).memories if m.kind != "rom"]
        counted = {m.what: (m.kind, m.count, m.words, m.width) for m in made_of}
        assert declared, node.op
        assert counted == declared, (node.op, node.ints)


@pytest.mark.compile
def test_constants_are_spread_as_in_the_header(tmp_path):
    sizes = list(product(range(4), (1, 3, 4), (1, 5, 90), (4, 12)))
    line = '    std::printf("%d\\n", int(hls4attn::lane_banks<{}, {}, {}, {}>::value));\n'
    body = "".join(line.format(*size) for size in sizes)
    found = [int(n) for (n,) in compiled(body, "#include <cstdio>", ["attn_lanes.h"], tmp_path)]
    assert found == [lane_banks(*size) for size in sizes]


@pytest.mark.parametrize("kind", ["dense", "affine", "add", "multiply", "reduce", "permute", *NORMS])
def test_constants_hold_their_tables(kind):
    """Every element has its place, with less than a word of each memory to spare; a table of logic is no memory."""
    for seed in range(12):
        node = make(seed, kind).node
        counted = {m.what: m for m in stream_resources(node).memories if m.kind == "rom"}
        for name in ("scale", "offset", "alpha", "gamma", "bias"):
            if name not in node.roms or node.roms[name].size == 1:
                continue
            memory, size = counted[name], node.roms[name].size
            assert size <= memory.count * memory.words < size + memory.count, (seed, name)
            low, high = int(node.roms[name].min()), int(node.roms[name].max())
            assert memory.width >= max(high.bit_length(), (-low - 1).bit_length() + 1 if low < 0 else 0)
        assert "squares" not in counted
