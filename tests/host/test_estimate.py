# SPDX-License-Identifier: Apache-2.0
"""What a user is told about a design before synthesis: figures, limits, boards, the change that fits, and errors."""

import json
import math
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from command_line import command

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design, HwNode, Stream
from hls4attn.hls.estimate import estimate, to_dict
from hls4attn.hls.fit import (
    AROUND_BRAM18,
    AROUND_LUT,
    FILLED,
    Capacity,
    auto_reuse,
    fit,
    most_reuse,
    smallest_reuse,
    suggest,
)
from hls4attn.hls.limits import MAX_UNROLL
from hls4attn.hls.stream.cycles import ceil_div, latencies
from hls4attn.hls.stream.resources import Resources
from hls4attn.host.estimate import capacity, designs
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.graph import Tensor
from hls4attn.models.formats import Fixed
from hls4attn.models.zoo import zoo_model
from hls4attn.overlays.boards import load_boards

MODEL = zoo_model("digits-vit").folder / "consmax.onnx"
A8 = Fixed(8, 4)
HUGE = Capacity("huge", "zynq", 10**6, 10**6, 10**7, 10**7)


@pytest.fixture(scope="module")
def make():
    return designs(MODEL)


def dense_chain(config, n_in=12, n_out=10, rows=4):
    """One dense layer as a design; reuse_factor is the cycles of a row, one output block."""
    if config.reuse_factor > n_in:
        raise UnsupportedError("no more reuse to be had")
    ints = {
        "rows": rows, "n_in": n_in, "n_out": n_out, "weight_width": 6, "core_width": 20, "scaled_width": 20,
        "sum_width": 20, "sum_frac": 8, "row_stride": n_in, "in_stride": 1,
    }  # fmt: skip
    if config.io_type == "io_stream":
        ints |= {"in_block": ceil_div(n_in, config.reuse_factor), "out_block": n_out}
    node = HwNode("AttnDense", "layer", ("x",), (A8,), "y", (rows, n_out), A8, ("layer",), ints, {})
    streams = {}
    if config.io_type == "io_stream":
        node = replace(node, ints=ints | latencies(node))
        streams = {"x": Stream(rows, n_in), "y": Stream(rows, n_out)}
    return Design("chain", Tensor("x", (rows, n_in), A8), "y", (node,), config.io_type, streams)


STREAM = HlsConfig(io_type="io_stream")


# ---- figures ---------------------------------------------------------------------------------------------------------


def test_one_dense_layer_by_hand():
    """12 inputs in blocks of 3: 4 cycles a row, 4 rows; 3 * 10 multipliers of 8 x 6 bits."""
    found = estimate(dense_chain(replace(STREAM, reuse_factor=4)), STREAM)
    (layer,) = found.kernels
    assert (layer.rows, layer.cycles, layer.interval, found.interval) == (4, 16, 16, 16)
    assert found.resources.dsp() == 30
    # depth: read 1, ROM 1, multiplier 2, tree of 3 + 1 terms 2, tail 1, write 1; rows start at 1, 5, 9, 13
    assert layer.first == 1 + 4 + 8
    assert found.latency == layer.last == 13 + 4 + 8
    assert found.resources.bits("fifo") == 2 * 12 * 8 + 2 * 10 * 8
    assert found.resources.bits("rom") == 12 * 10 * 6
    assert not found.limits


def test_kernels_of_an_io_parallel_design_follow_each_other():
    config = HlsConfig(reuse_factor=4)
    found = estimate(dense_chain(config), config)
    assert (found.latency, found.interval, found.resources.dsp()) == (16, 16, 30)
    model = designs(MODEL)(config)
    found = estimate(model, config)
    assert found.latency == sum(k.cycles for k in found.kernels) == 2244
    single = replace(config, layer_reuse_factor={"head_matmul": 80})
    assert estimate(model, single).latency == 2244 + 80 - 4


def test_a_streaming_model(make):
    found = estimate(make(replace(STREAM, reuse_factor=16)), STREAM)
    kernels = {k.name: k for k in found.kernels}
    attention = kernels["block0_attention_score"]
    # 16 rows, 2 heads one by one, 16 keys in slices of 4, 16 chunks of one element
    assert attention.interval == found.interval == 16 * 2 * 4 * 16
    assert dict(attention.processes)["load_keys"] == 16 * 2 * 16
    assert attention.resources.multiplier_count == 2 * 4  # two products of 1 head, 4 keys, 1 element
    assert found.bottleneck == "block0_attention_score"
    assert all(k.interval <= found.interval for k in found.kernels)
    assert all(k.first <= k.last <= found.latency for k in found.kernels)
    assert found.latency == found.kernels[-1].last


@pytest.mark.parametrize("model", ["consmax", "softmax", "sole"])
def test_more_reuse_never_takes_more_multipliers_or_fewer_cycles(model):
    make = designs(MODEL.with_stem(model))
    found = [estimate(make(replace(STREAM, reuse_factor=r)), STREAM) for r in (1, 2, 4, 8, 16)]
    for before, after in pairwise(found):
        assert after.resources.multiplier_count <= before.resources.multiplier_count
        assert after.interval >= before.interval


def test_plain_values(make):
    values = to_dict(estimate(make(STREAM), STREAM))
    assert json.loads(json.dumps(values)) == values
    kernels = values["kernels"]
    assert sum(k["dsp48e1"] for k in kernels) == values["total"]["dsp48e1"]
    assert sum(k["multiplier_count"] for k in kernels) == values["total"]["multiplier_count"]


# ---- limits ----------------------------------------------------------------------------------------------------------


def test_unrolled_products():
    config = HlsConfig()
    (limit,) = estimate(dense_chain(config, 64, 65), config).limits
    assert (limit.node, limit.number, limit.most) == ("layer", 64 * 65, MAX_UNROLL)
    assert "--io io_stream" in str(limit)
    assert estimate(dense_chain(config, 64, 64), config).limits == ()
    (limit,) = estimate(dense_chain(replace(STREAM, reuse_factor=1), 64, 65), STREAM).limits
    assert "reuse factor" in limit.remedy
    assert estimate(dense_chain(replace(STREAM, reuse_factor=2), 64, 65), STREAM).limits == ()


def test_wide_words_and_rows():
    limits = estimate(dense_chain(replace(STREAM, reuse_factor=512), 513, 7), STREAM).limits
    assert [(m.what, m.number) for m in limits] == []  # 513 * 8 bits enter, but the port is the host's
    found = {m.what: m.number for m in estimate(dense_chain(replace(STREAM, reuse_factor=4), 12, 513), STREAM).limits}
    assert found == {"bits of a word of y": 513 * 8}
    found = {m.what: m.number for m in estimate(dense_chain(replace(STREAM, reuse_factor=8), 8, 1025), STREAM).limits}
    assert found == {"elements of a row in registers": 1025, "bits of a word of y": 1025 * 8}


def test_arrays_in_registers():
    config = HlsConfig()
    product = {"heads": 1, "rows": 4, "inner": 40, "cols": 40, "core_width": 20, "sum_width": 20}
    node = HwNode("AttnMatMul", "qk", ("a", "b"), (A8, A8), "y", (1, 4, 40), A8, ("qk",), product, {})
    found = estimate(Design("d", Tensor("a", (4, 40), A8), "y", (node,)), config)
    (limit,) = found.limits
    assert (limit.number, limit.most) == (1600, 1024)


# ---- boards ----------------------------------------------------------------------------------------------------------


def test_utilisation():
    used = Resources(multipliers=(((8, 8), 55),), logic_lut=26600, logic_ff=1064)
    board = capacity(load_boards()["pynq-z2"])
    found = fit(used, board)
    assert dict(found.percent) == {"dsp": 25.0, "bram36": 0.0, "lut": 50.0, "ff": 1.0}
    assert found.fits
    assert not fit(Resources(multipliers=(((8, 8), 221),)), board).fits
    assert fit(Resources(multipliers=(((8, 8), 220),)), board).fits
    unknown = fit(used, replace(board, dsp=None))
    assert "dsp" not in unknown.percent
    assert unknown.fits


def test_the_smallest_power_of_two():
    """120 multipliers / reuse: 12 inputs in blocks of ceil(12 / r), 10 outputs."""
    for dsps, expected in ((120, 1), (119, 2), (60, 2), (59, 4), (30, 4), (20, 8), (19, None)):
        board = replace(HUGE, dsp=dsps)
        assert smallest_reuse(dense_chain, STREAM, board) == expected
        if expected is None:
            with pytest.raises(UnsupportedError, match=r"105% of dsp.*layer \(dense\)"):
                auto_reuse(dense_chain, STREAM, board)
        else:
            assert auto_reuse(dense_chain, replace(STREAM, reuse_factor=3), board) == expected


def test_limits_count_as_not_fitting():
    def wide(config):
        return dense_chain(config, 64, 65)

    assert smallest_reuse(wide, STREAM, HUGE) == 2


def test_suggestions():
    assert suggest(dense_chain, STREAM, HUGE).options == ""
    assert suggest(dense_chain, STREAM, replace(HUGE, dsp=60)).options == "--io io_stream --reuse 2"
    parallel = HlsConfig()
    assert suggest(dense_chain, parallel, replace(HUGE, dsp=60)).options == "--io io_parallel --reuse 2"

    def large(config):  # too many unrolled products for any io_parallel
        return dense_chain(config, 64, 65)

    assert suggest(large, parallel, HUGE).options == "--io io_stream --reuse 2"
    hopeless = suggest(dense_chain, STREAM, replace(HUGE, dsp=5))
    assert hopeless.options == ""
    assert "layer (dense)" in hopeless.reason
    assert "dsp" in hopeless.reason


@pytest.mark.parametrize("kind", ["dsp", "bram36", "lut", "ff"])
def test_fitting_leaves_room_for_what_is_around_the_kernels(make, kind):
    used = estimate(make(STREAM), STREAM).resources
    enough = {
        "dsp": used.dsp(),
        "bram36": used.bram36 + AROUND_BRAM18 / 2,
        "lut": math.ceil((used.lut + AROUND_LUT) / FILLED),
        "ff": used.ff,
    }
    assert fit(used, replace(HUGE, **enough)).fits
    found = fit(used, replace(HUGE, **enough | {kind: enough[kind] - 2}))
    assert not found.fits and found.percent["lut"] < 100 * FILLED  # of the whole board, by the kernels alone
    assert fit(used, Capacity("unknown", "zynq", None, None, None, None)).fits


def test_fewer_keys_and_heads_at_a_time(make):
    """8 keys and 2 heads at a time: 16 * 2 multipliers and 16 divisions of the shift form are left with most reuse."""
    wide = replace(STREAM, lanes=8, parallel_heads=2)
    most, design = most_reuse(make, wide)
    assert most == replace(wide, reuse_factor=16)
    least = estimate(design, most).resources.dsp()
    board = replace(HUGE, dsp=least - 1)
    assert smallest_reuse(make, wide, board) is None
    found = suggest(make, wide, board)
    options = dict(zip(*[iter(found.options.split())] * 2, strict=True))
    assert options.keys() == {"--io", "--reuse", "--lanes", "--parallel-heads"}
    lanes, heads, reuse = (int(options[name]) for name in ("--lanes", "--parallel-heads", "--reuse"))
    assert lanes * heads == 8
    fits = replace(STREAM, lanes=lanes, parallel_heads=heads, reuse_factor=reuse)
    assert fit(estimate(make(fits), fits).resources, board).fits
    with pytest.raises(UnsupportedError, match=f"--lanes {lanes} --parallel-heads {heads}"):
        auto_reuse(make, wide, board)
    hopeless = suggest(make, wide, replace(HUGE, dsp=1))
    assert hopeless.options == ""
    assert "with 16" in hopeless.reason


def test_a_suggestion_names_every_option(make):
    """What is suggested is what was estimated, whatever the defaults are where it is used."""
    board = capacity(load_boards()["pynq-z2"])
    found = suggest(make, replace(STREAM, lanes=2, parallel_heads=2), board)
    assert re.fullmatch(r"--io io_stream --reuse \d+ --lanes 2 --parallel-heads 2", found.options)
    assert suggest(make, HlsConfig(), board).options.endswith("--lanes 4 --parallel-heads 1")


def test_parts_of_a_head(make, capsys, monkeypatch):
    """Heads of 16 elements: 9, 11 and 15 come to parts of two elements, which are 8."""
    for reuse in (8, 9, 11, 15):
        code, out, _ = command(capsys, monkeypatch, "estimate", MODEL, "--reuse", reuse)
        assert code == 0
        assert f"reuse factor {reuse} (parts of a head: 8 of 2)" in out
        chosen = replace(STREAM, reuse_factor=reuse)
        assert estimate(make(chosen), chosen).interval == 16 * 2 * 4 * 8


def test_the_table_shows_what_the_suggestion_speaks_of(capsys, monkeypatch, tmp_path):
    """Nothing fits: the design with most reuse, not with least."""
    monkeypatch.setattr("hls4attn.host.estimate.capacity", lambda board: replace(HUGE, name=board.name, dsp=1))
    target = tmp_path / "out.json"
    code, out, _ = command(capsys, monkeypatch, "estimate", MODEL, "--board", "pynq-z2", "--json", target)
    assert code == 0
    assert "reuse factor 16, the most there is: none fits pynq-z2" in out
    values = json.loads(target.read_text())
    assert values["reuse_factor"] == 16
    percent = next(b["percent"]["dsp"] for b in values["boards"] if b["board"] == "pynq-z2")
    assert f"with 16: {percent:.0f}% of dsp" in values["suggestion"]["reason"]


def test_a_design_without_a_streaming_form():
    def make(config):
        if config.io_type == "io_stream":
            raise UnsupportedError("no streaming form")
        return dense_chain(replace(config, reuse_factor=1))

    found = suggest(make, HlsConfig(), replace(HUGE, dsp=0))
    assert (found.options, "layer" in found.reason) == ("", True)
    with pytest.raises(UnsupportedError, match="no streaming form"):
        auto_reuse(make, STREAM, HUGE)


# ---- command line ----------------------------------------------------------------------------------------------------


def test_the_verb_streams_by_default(capsys, monkeypatch, tmp_path):
    target = tmp_path / "new" / "out.json"
    code, out, err = command(capsys, monkeypatch, "estimate", MODEL, "--board", "pynq-z2", "--json", target)
    assert (code, err) == (0, "")
    values = json.loads(target.read_text())
    assert (values["io_type"], values["synthesised"]) == ("io_stream", False)
    assert f"reuse factor {values['reuse_factor']}, chosen: the smallest that fits pynq-z2" in out
    assert {b["board"] for b in values["boards"]} == set(load_boards())
    chosen = next(b for b in values["boards"] if b["board"] == "pynq-z2")
    assert chosen["fits"]
    assert f"latency {values['latency_cycles']:,} cycles" in out
    assert "at an assumed clock of 100 MHz" in out
    assert "nothing was synthesised" in out
    assert values["latency_us"] == values["latency_cycles"] / 100
    make, board = designs(MODEL), capacity(load_boards()["pynq-z2"])
    half = replace(STREAM, reuse_factor=values["reuse_factor"] // 2)
    assert not fit(estimate(make(half), half).resources, board).fits


def test_the_verb_says_why_arrays_do_not_fit_and_what_does(capsys, monkeypatch):
    code, out, _ = command(capsys, monkeypatch, "estimate", MODEL, "--io", "io_parallel", "--board", "pynq-z2")
    assert code == 0
    assert "18,016" in out
    line = next(line for line in out.splitlines() if line.startswith("suggestion:"))
    options = line.removeprefix("suggestion: ").split(" is the smallest")[0].split()
    code, out, _ = command(capsys, monkeypatch, "estimate", MODEL, "--board", "pynq-z2", *options)
    assert code == 0
    assert "suggestion: fits pynq-z2 as it is" in out


@pytest.mark.parametrize(("suffix", "start"), [("PNG", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_chart(capsys, monkeypatch, tmp_path, suffix, start):
    pytest.importorskip("matplotlib")
    target = tmp_path / f"chart.{suffix}"
    code, *_ = command(capsys, monkeypatch, "estimate", MODEL, "--reuse", 4, "--chart", target)
    assert code == 0
    assert target.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((MODEL, "--io", "io_serial"), ("io_type", "io_serial")),
        ((MODEL, "--reuse", 0), ("reuse_factor", "0")),
        ((MODEL, "--reuse", 17), ("17", "16")),  # heads of 16 elements
        ((MODEL, "--io", "io_parallel", "--lanes", 2), ("lanes", "io_parallel")),
        ((MODEL, "--lanes", 17), ("lanes", "17")),
        ((MODEL, "--parallel-heads", 3), ("parallel_heads", "3")),
        ((MODEL, "--board", "zx81"), ("zx81", "pynq-z2")),
        (("absent.onnx",), ("absent.onnx",)),
        ((MODEL, "--chart", "figure.pdf"), ("figure.pdf", ".png")),
        ((MODEL, "--json", "/"), ("/",)),
    ],
)
def test_one_readable_line_for_wrong_input(capsys, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(capsys, monkeypatch, "estimate", *arguments)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("error: ")
    for word in words:
        assert word in err
    assert list(tmp_path.iterdir()) == []


def test_the_model_is_never_overwritten(capsys, monkeypatch, tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(MODEL.read_bytes())
    code, _, err = command(capsys, monkeypatch, "estimate", model, "--json", model)
    assert code == 2
    assert "model.onnx" in err
    assert model.read_bytes() == MODEL.read_bytes()
