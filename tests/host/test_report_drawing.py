# SPDX-License-Identifier: Apache-2.0
"""The drawing of a model: complete, legible and inert."""

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hls4attn.host.operator_models import OPERATORS, operator_model
from hls4attn.host.report.boxes import KINDS, short_format, to_boxes
from hls4attn.host.report.columns import columns_of, cuts_of
from hls4attn.host.report.coordinates import solve
from hls4attn.host.report.drawing import model_svg
from hls4attn.models.export import load_model, read_graph
from hls4attn.models.export.builder import GraphBuilder
from hls4attn.models.export.graph import Constant
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import SoftmaxSpec
from hls4attn.models.zoo import zoo_model
from tests.host import svg_places as places
from tests.models.builders import attention_model, specs

ZOO = Path(zoo_model("digits-vit").folder).parent
FILES = ["digits_vit/consmax.onnx", "digits_vit/softmax.onnx", "digits_vit/sole.onnx", "char_gpt/gaincell.onnx"]


def encoder(blocks, heads=12, tokens=16, width=96):
    """Blocks of attention and a residual, as in an encoder of MiniLM's depth."""
    b, rng = GraphBuilder("encoder"), np.random.default_rng(0)
    shape, split = (tokens, width), (heads, tokens, tokens)
    x = b.quant(b.input("input", shape), Fixed(8, 4), "tokens", shape)
    for n in range(blocks):

        def dense(source, name, n=n):
            w = b.quantised_constant(f"encoder_layer_{n}_{name}_w", rng.integers(-3, 3, (width, width)), Fixed(3, 2))
            return b.quant(
                b.node("MatMul", [source, w], f"l{n}_{name}_mm", shape), Fixed(8, 4), f"encoder_layer_{n}_{name}", shape
            )

        q, k, v = (
            b.transpose(b.reshape(dense(x, t), (tokens, heads, width // heads), f"l{n}{t}"), (1, 0, 2), f"l{n}_{t}_h")
            for t in ("query", "key", "value")
        )
        s = b.node("MatMul", [q, b.transpose(k, (0, 2, 1), f"l{n}_kt")], f"l{n}_qk", split)
        p = b.score(b.quant(s, Fixed(8, 3), f"l{n}_scores", split), SoftmaxSpec(Fixed(8, 3), (0.25,) * heads),
                    f"l{n}_p", split)  # fmt: skip
        o = b.node("MatMul", [p, v], f"l{n}_pv", (heads, tokens, width // heads))
        o = b.quant(o, Fixed(8, 4), f"l{n}_context", (heads, tokens, width // heads))
        o = dense(b.reshape(b.transpose(o, (1, 0, 2), f"l{n}_turned"), shape, f"l{n}_merged"), "out")
        x = b.quant(b.node("Add", [o, x], f"l{n}_sum", shape), Fixed(8, 4), f"l{n}_residual0", shape)
        y = dense(dense(x, "expand"), "contract")
        x = b.quant(b.node("Add", [y, x], f"l{n}_sum1", shape), Fixed(8, 4), f"l{n}_residual1", shape)
    return read_graph(b.model(["input"], [x], {}))


def graphs():
    found = {name: lambda name=name: read_graph(load_model(ZOO / name)) for name in FILES}
    for cases in OPERATORS.values():
        found[cases[-1].name] = lambda case=cases[-1]: read_graph(operator_model(case.spec()))
    found["attention"] = lambda: read_graph(attention_model(specs()["softmax"]))
    return found


GRAPHS = graphs()


def expected_links(graph, home, boxes):
    """Every operand that comes from another box, from the graph alone."""
    made = {n.output: home[n.name] for n in graph.nodes} | {graph.input.name: 0}
    found = Counter()
    for node in graph.nodes:
        for name in node.inputs:
            if not isinstance(graph.tensors[name], Constant) and made[name] != home[node.name]:
                found[made[name], home[node.name], name] += 1
    found[made[graph.output.name], boxes - 1, graph.output.name] += 1
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_complete_and_nothing_in_the_way(name):
    graph = GRAPHS[name]()
    shown = places.read(model_svg(graph))
    assert places.collisions(shown) == []
    listed = [(n, int(box.what)) for box, group in shown.boxes for n in group.get("data-nodes").split()]
    assert sorted(n for n, _ in listed) == sorted(n.name for n in graph.nodes)
    home = dict(listed)
    assert Counter(link[:3] for link in shown.links) == expected_links(graph, home, len(shown.boxes))
    assert set(shown.kinds) <= set(KINDS)


@pytest.mark.parametrize("name", GRAPHS)
def test_labels_are_shapes_and_formats(name):
    graph = GRAPHS[name]()
    shown, (boxes, _) = places.read(model_svg(graph)), to_boxes(graph)
    labels = {k: word.what for word, label, k in shown.words if label}
    assert sorted(labels) == list(range(len(boxes) - 1))  # nothing leaves the output
    for k, text in labels.items():
        shape, fmt = text.split(" · ")
        tensor = boxes[k].tensor
        assert tuple(map(int, shape.split("×"))) == (tensor.shape or (1,))
        assert Fixed.parse(fmt) == tensor.format
    for source, _, tensor, _ in shown.links:
        assert boxes[source].tensor.name == tensor
    words = {(k, word.what) for word, _, k in shown.words}
    dense = next((b for b in boxes if b.kind == "dense"), None)
    if dense is not None:
        weights = graph.tensors[dense.nodes[0].inputs[1]]
        line = f"weights {weights.shape[0]}×{weights.shape[1]} · {short_format(weights.format)}"
        assert (boxes.index(dense), line) in words


def test_the_checks_find_what_they_look_for():
    svg = model_svg(GRAPHS["digits_vit/consmax.onnx"]())
    one, two = re.findall(r'<rect class="h4a-dense" x="[^"]*" y="[^"]*"', svg)[1:3]
    assert any("overlaps" in c for c in places.collisions(places.read(svg.replace(one, two))))
    wide = svg.replace(">block0_attention_q<", ">block0_attention_q_of_a_long_name<")
    assert any("wider" in c for c in places.collisions(places.read(wide)))
    x, y = re.search(r'<rect class="h4a-score" x="([^"]*)" y="([^"]*)"', svg).groups()
    lost = svg.replace(
        '<path class="h4a-edge" d="', f'<path class="h4a-edge" d="M{x} {float(y) + 9}L500 {float(y) + 9}', 1
    )
    assert any("runs through" in c for c in places.collisions(places.read(lost)))
    assert len(places.read(re.sub(r'<g class="h4a-link".*?</g>', "", svg, count=1)).links) + 1 == len(
        places.read(svg).links
    )


def test_residual_lines_are_straight_and_the_shape_is_sensible():
    shown = places.read(model_svg(GRAPHS["digits_vit/consmax.onnx"]()))
    assert 0.6 < shown.size[0] / shown.size[1] < 1.8
    straight = 0
    for *_, line in shown.links:
        straight += np.ptp(line[:, 0]) < 0.2
    assert straight >= len(shown.links) / 2


def test_as_deep_as_minilm():
    graph = encoder(6)
    start = time.perf_counter()
    svg = model_svg(graph)
    assert time.perf_counter() - start < 10
    shown = places.read(svg)
    assert len(shown.boxes) > 80 and places.collisions(shown) == []
    assert 0.4 < shown.size[0] / shown.size[1] < 2


def test_hostile_names_are_inert():
    b = GraphBuilder('<script>alert("m")</script>')
    evil = ['"/><script>alert(1)</script>', "a\x00b\x1b[2J", "]]>&amp;<b x='", "ﾊ\u202eevil" + "n" * 200]
    x = b.quant(b.input("in put", (3,)), Fixed(8, 4), evil[0], (3,))
    for name in evil[1:]:
        w = b.quantised_constant(f"{name}_w", np.eye(3, dtype=np.int64), Fixed(4, 1))
        x = b.quant(b.node("MatMul", [x, w], f"{name}_mm", (3,)), Fixed(8, 4), name, (3,))
    svg = model_svg(read_graph(b.model(["in put"], [x], {})))
    root = ET.fromstring(svg)
    tags = {e.tag.removeprefix(places.SVG) for e in root.iter()}
    assert tags == {"svg", "g", "title", "style", "text", "rect", "path"}
    assert not [k for e in root.iter() for k in e.attrib if k.lower().startswith("on") or "href" in k]
    assert "<script" not in svg and "\x00" not in svg and "\x1b" not in svg and "\u202e" not in svg
    titles = [e.text for e in root.iter(f"{places.SVG}text")]
    assert evil[0] in titles and any(t.endswith("…") for t in titles)
    assert {e.get("data-tensor") for e in root.iter()} >= {evil[0], "a\ufffdb\ufffd[2J", evil[2]}
    assert places.collisions(places.read(svg)) == []


def test_the_same_bytes_in_another_process():
    name = "char_gpt/gaincell.onnx"
    code = (
        "import sys; from pathlib import Path; from hls4attn.models.export import load_model, read_graph\n"
        "from hls4attn.host.report.drawing import model_svg\n"
        f"sys.stdout.buffer.write(model_svg(read_graph(load_model(Path({str(ZOO / name)!r})))).encode())"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        )
        for seed in ("1", "2")
    ]
    here = model_svg(GRAPHS[name]())
    assert [m.stdout.decode() for m in made] == [here, here]
    assert here.startswith("<svg ") and "<?xml" not in here


def test_coordinates_are_the_best_there_are():
    """Against all places of a small grid."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        pulls = [(k - 1, k, int(rng.integers(-2, 3)), int(rng.integers(1, 5))) for k in (1, 2, 3)]
        pulls.append((0, 3, 0, int(rng.integers(1, 5))))
        gaps = [(0, 1, int(rng.integers(0, 4))), (2, 3, int(rng.integers(0, 4)))]
        grid = np.stack(np.meshgrid([0], *[np.arange(-8, 9)] * 3), -1).reshape(-1, 4)
        allowed = grid[np.all([grid[:, b] - grid[:, a] >= d for a, b, d in gaps], axis=0)]
        best = sum(w * np.abs(allowed[:, a] + o - allowed[:, b]) for a, b, o, w in pulls).min()
        x = solve(4, pulls, gaps)
        assert all(x[b] - x[a] >= d for a, b, d in gaps)
        assert sum(w * abs(x[a] + o - x[b]) for a, b, o, w in pulls) == pytest.approx(best)
    assert solve(3, [(0, 2, 0, 1), (1, 2, 0, 1)], [(0, 1, 10)])[2] == 5  # of equally good ones, the middle


def test_columns():
    spans = [(0, 1, "a"), (1, 2, "b"), (1, 3, "b"), (2, 3, "c"), (3, 4, "d")]
    assert cuts_of(spans) == [0, 1, 3]  # b goes on alone behind row 1; with c behind row 2
    assert columns_of([100.0] * 4, 300, cuts_of(spans)) == [0]
    assert columns_of([1000.0] * 4, 1000, [0, 1, 2]) == [0, 2]
    assert columns_of([1000.0] * 4, 1000, [0]) == [0, 1]
    assert columns_of([1000.0] * 4, 1000, []) == [0]
