# SPDX-License-Identifier: Apache-2.0
"""`estimate --rtl`: the clocks of the RTL, and the choice of DSP blocks that fits."""

import json
from dataclasses import replace

import pytest
from command_line import command

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.fit import AROUND_BRAM18, AROUND_LUT, FILLED, Capacity
from hls4attn.hls.rtl.net.budget import budget, fastest, fits
from hls4attn.hls.rtl.net.cycles import network_cycles
from hls4attn.host.estimate import designs
from hls4attn.models.errors import InputError, UnsupportedError
from hls4attn.models.export.reader import load_model, read_graph
from hls4attn.models.zoo import zoo_model

MODEL = zoo_model("digits-vit").folder / "consmax.onnx"
STREAM = HlsConfig(io_type="io_stream")
ZYNQ = Capacity("zynq", "zynq", 220, 140, 53200, 106400)


@pytest.fixture(scope="module")
def graph():
    return read_graph(load_model(MODEL))


@pytest.fixture(scope="module")
def make():
    return designs(MODEL)


def test_the_digits_fit_a_zynq_in_less_than_2000_cycles(tmp_path, capsys, monkeypatch):
    arguments = ("--rtl", "--board", "pynq-z2", "--json", tmp_path / "rtl.json")
    code, out, _ = command(capsys, monkeypatch, "estimate", MODEL, *arguments)
    assert code == 0
    found = json.loads((tmp_path / "rtl.json").read_text())
    assert found["fits"] and found["dsp"] <= 220 and found["latency_cycles"] < 2000
    assert found["lut_estimate"] + found["lut_around"] <= FILLED * 53200
    assert sum(n["bram18_estimate"] for n in found["nodes"]) == found["bram18_estimate"] <= 280 - found["bram18_around"]
    assert f"latency {found['latency_cycles']:,} cycles" in out
    assert "fits pynq-z2" in out and "nothing was synthesised" in out
    assert found["dsp"] == sum(n["dsp"] for n in found["nodes"])
    assert {n["in"] for n in found["nodes"]} == {"", "DSP", "LUT"}


def test_a_reuse_factor_that_is_given_is_taken(capsys, monkeypatch):
    arguments = ("--rtl", "--reuse", "1", "--parallel-heads", "2", "--board", "pynq-z2")
    code, out, _ = command(capsys, monkeypatch, "estimate", MODEL, *arguments)
    assert code == 0 and "does not fit pynq-z2" in out
    assert "interval 256 cycles" in out


def test_more_blocks_leave_fewer_luts(make, graph):
    design = make(HlsConfig(io_type="io_stream", lanes=1))
    sizes = [budget(design, graph, n) for n in (0, 3, 50, 220, 2000)]
    assert [s.dsp <= n for s, n in zip(sizes, (0, 3, 50, 220, 2000), strict=True)] == [True] * 5
    luts = [s.lut for s in sizes]
    assert luts == sorted(luts, reverse=True) and len(set(luts)) == 5
    assert sizes[0].chosen == frozenset() and sizes[-1].chosen == {n.name for n in sizes[-1].nodes if n.dsp}
    every = budget(design, graph, sizes[-1].dsp)
    assert every.chosen == sizes[-1].chosen  # the last block counts


def test_a_smaller_board_is_slower_or_refused(make, graph):
    found = fastest(make, graph, STREAM, ZYNQ)
    slower = fastest(make, graph, STREAM, Capacity("half", "zynq", 110, 70, 40000, 53200))
    assert slower.clocks.latency > found.clocks.latency and fits(slower.budget, ZYNQ)
    with pytest.raises(UnsupportedError, match="no choice of the RTL fits tiny"):
        fastest(make, graph, STREAM, Capacity("tiny", "zynq", 10, 10, 1000, 1000))


def test_each_kind_of_resource_can_be_too_little(make, graph):
    found = fastest(make, graph, STREAM, ZYNQ).budget
    enough = Capacity("enough", "zynq", found.dsp, found.bram18 / 2 + AROUND_BRAM18 / 2, 52000, None)
    assert fits(found, enough) and fits(found, Capacity("unknown", "zynq", None, None, None, None))
    short = {"dsp": found.dsp - 1, "bram36": enough.bram36 - 1, "lut": (found.lut + AROUND_LUT - 1) / FILLED}
    for kind, number in short.items():
        assert not fits(found, replace(enough, **{kind: number}))


def test_first_layers_have_a_pace_of_their_own(make, graph):
    """What fills the first attention's memories, and what follows it: both paces together are the fastest."""
    found = fastest(make, graph, STREAM, ZYNQ)
    paces = found.config.layer_reuse_factor
    ahead, behind = paces["block0_attention_k_proj_matmul"], paces["block1_attention_k_proj_matmul"]
    assert paces["block0_expand_matmul"] == behind != ahead
    for other in (ahead, behind):
        same = replace(found.config, layer_reuse_factor=dict.fromkeys(paces, other))
        design = make(same)
        size = budget(design, graph, 220)
        slower = network_cycles(design, graph, dsp=size.chosen).latency >= found.clocks.latency
        assert slower or not fits(size, ZYNQ)


def test_a_choice_for_a_layer_is_kept(make, graph):
    given = replace(STREAM, layer_reuse_factor={"block1_expand_matmul": 64})
    assert fastest(make, graph, given, ZYNQ).config.layer_reuse_factor["block1_expand_matmul"] == 64


def test_what_it_refuses(make, graph, capsys, monkeypatch):
    code, _, error = command(capsys, monkeypatch, "estimate", MODEL, "--rtl", "--io", "io_parallel")
    assert code == 2 and "io_stream designs only" in error
    code, _, error = command(capsys, monkeypatch, "estimate", MODEL, "--rtl", "--chart", "x.png")
    assert code == 2 and "draws no chart" in error
    code, _, error = command(capsys, monkeypatch, "estimate", MODEL, "--rtl", "--reuse", "1", "--lanes", "2")
    assert code != 0 and "lanes" in error
    with pytest.raises(InputError, match="no -1 DSP blocks"):
        budget(make(HlsConfig(io_type="io_stream", lanes=1)), graph, -1)
