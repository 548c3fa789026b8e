# SPDX-License-Identifier: Apache-2.0
"""What the vendor tools would refuse of streaming kernels: figures by hand on both sides of every limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import stream_nodes as made
from gain_models import cells_model

from hls4attn.hls.config import HlsConfig
from hls4attn.hls.design import Design, HwNode
from hls4attn.hls.estimate import estimate, stream_limits
from hls4attn.hls.fit import Capacity, auto_reuse, suggest
from hls4attn.hls.lowering import lower_graph
from hls4attn.hls.stream.cycles import is_attention
from hls4attn.hls.stream.kernels import stream_resources
from hls4attn.hls.stream.network import to_stream
from hls4attn.host.estimate import reuse_text
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.reader import read_graph
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.zoo import zoo_model

CONSMAX = "AttnAttentionConSmax"
STREAM = HlsConfig(io_type="io_stream")


def design(config: HlsConfig) -> Design:
    return to_stream(lower_graph(read_graph(zoo_model("digits-vit").folder / "consmax.onnx")), config)


def node_limits(node, backend="Vitis"):
    return {m.what: (m.number, m.most) for m in stream_limits(node, stream_resources(node), backend)}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        # 2 heads, 16 keys and 128 elements at a time; a row of 2 * 128
        (made.attention(CONSMAX, 32, 2, 128, 16, 2, 128), {}),
        (made.attention(CONSMAX, 32, 2, 128, 17, 2, 128), {"products unrolled in an iteration": (2 * 17 * 128, 4096)}),
        # 16 heads one by one, 64 elements in chunks of 60 take two words of 60
        (made.attention(CONSMAX, 4, 16, 64, 1, 1, 64), {}),
        (made.attention(CONSMAX, 4, 16, 64, 1, 1, 60), {"elements of a row in registers": (16 * 2 * 60, 1024)}),
        (
            made.attention("AttnAttentionE2Softmax", 520, 2, 1, 513, 2, 1),
            {
                "elements of the scores of an iteration in registers": (1026, 1024),
                "bits of a word of scores": (8208, 4096),
            },
        ),
        (
            made.attention("AttnAttentionConSmaxSplit", 4, 33, 1),
            {"elements of the tables in registers": (33 * 2 * 16, 1024)},
        ),
        # rows of 1000 channels in 3 cycles of 334 are 1002; in 2 cycles of 513 they are 1026
        (made.elementwise("AttnAffine", 4, 1000, 334), {}),
        (made.elementwise("AttnAffine", 4, 1000, 513), {"elements of a row in registers": (1026, 1024)}),
        (made.dense(4, 1000, 4, 513, 1), {"elements of a row in registers": (1026, 1024)}),
        (made.permute(32, 33, 33, 32), {"elements of a tensor in registers": (1056, 1024)}),
    ],
)
def test_limits_of_streaming_kernels(node, expected):
    found = node_limits(node)
    assert {what: found.get(what) for what in expected} == expected
    if not expected:
        assert found == {}


def test_tables_in_vivado_hls_have_two_ports():
    """Its tools ignore the pragma that gives a ROM a port for every look-up."""
    what = "table look-ups a cycle with Vivado HLS"
    for op, limited in ((CONSMAX, True), ("AttnAttentionSoftmax", True), ("AttnAttentionE2Softmax", False)):
        node = made.attention(op, 16, 2, 4, lanes=3, parallel_heads=1, width=4, latency=5)
        assert node_limits(node) == {}
        assert node_limits(node, "Vivado") == ({what: (3, 2)} if limited else {})
    assert node_limits(made.attention(CONSMAX, 16, 2, 4, lanes=1, parallel_heads=2, width=4), "Vivado") == {}
    for heads, lanes in ((1, 2), (2, 1)):  # what it is given if nobody chose
        config = replace(STREAM, backend="Vivado", parallel_heads=heads, reuse_factor=4)
        found = estimate(design(config), config)
        assert not found.limits
        assert {n.ints["lanes"] for n in design(config).nodes if is_attention(n)} == {lanes}
    config = replace(STREAM, backend="Vivado", lanes=4, reuse_factor=4)
    assert {str(limit).split(":")[1].strip() for limit in estimate(design(config), config).limits} == {what}


# ---- gain cells ------------------------------------------------------------------------------------------------------


def test_reuse_changes_nothing_about_gain_cells() -> None:
    """It makes the kernels around them smaller at best; what is said of a board too small for the cells says so."""
    plain = lower_graph(read_graph(cells_model(GainCellSpec(head_dim=4, window=8, tile=4), 8, channels=4, tail="none")))

    def cells(reuse: int) -> HwNode:
        made = to_stream(plain, replace(STREAM, reuse_factor=reuse))
        assert "changes nothing about gain cells" in reuse_text(made)
        return next(n for n in made.nodes if n.op == "AttnGainCell")

    needed = stream_resources(cells(1))
    assert stream_resources(cells(4096)) == needed
    board = Capacity("board", "zynq", needed.dsp() - 1, None, None, None)

    def make(config: HlsConfig) -> Design:
        return to_stream(plain, replace(config, io_type="io_stream"))

    found = suggest(make, STREAM, board)
    assert found.options == ""
    assert "changes nothing about gain cells, which scan one slot a cycle" in found.reason
    with pytest.raises(UnsupportedError, match="nothing about gain cells"):
        auto_reuse(make, STREAM, board)
