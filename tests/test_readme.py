# SPDX-License-Identifier: Apache-2.0
"""What the README and the pages count is compared with the files it came from; `tests/docs` runs their examples."""

import json
import re

import pytest

from hls4attn.hls import HlsConfig
from hls4attn.hls.estimate import estimate
from hls4attn.hls.fit import fit
from hls4attn.hls.rtl.net.budget import AROUND
from hls4attn.hls.rtl.net.cycles import network_cycles
from hls4attn.hls.shell import added_cycles
from hls4attn.host.estimate import capacity, designs
from hls4attn.host.library import overlay_flow
from hls4attn.host.operator_models import OPERATORS, operator_codes, operator_distance, operator_model
from hls4attn.models.export.reader import read_graph
from hls4attn.overlays.boards import board, load_boards
from hls4attn.overlays.shell import design_shell
from tests.documents import DOCUMENTS, PAGES, ROOT, blocks

README = (ROOT / "README.md").read_text()
RESULTS = (PAGES / "results.md").read_text()
BOARDS = (PAGES / "boards.md").read_text()
RTL = (PAGES / "rtl.md").read_text()


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    found = [t for page in DOCUMENTS for t in re.findall(r"`make ([\w-]+)`", page.read_text())]
    assert {"test", "test-all", "docs"} <= set(found)
    for target in found:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(("score", "label"), [("consmax", "ConSmax"), ("softmax", "integer softmax")])
def test_accuracy_table(score, label):
    record = json.loads((ROOT / "models" / "zoo" / "digits_vit" / f"{score}.json").read_text())
    cells = [c.strip() for c in re.search(rf"^\| {label} \|(.*)\|$", RESULTS, re.MULTILINE).group(1).split("|")]
    assert cells[0] == f"{record['mean']:.2%}".replace("%", " %")
    assert cells[1] == f"{record['spread']:.2%}".replace("%", " %")
    assert cells[2] == ", ".join(f"{100 * a:.2f}" for a in record["accuracies"])


@pytest.mark.parametrize(
    ("label", "operator", "case"),
    [
        ("ConSmax, direct table", "consmax", 0),
        ("ConSmax, split tables, 8-bit scores", "consmax", 2),
        ("ConSmax, split tables, 16-bit scores", "consmax", 3),
        ("integer softmax", "softmax", 0),
        ("E2Softmax, two passes", "e2softmax", 0),
        ("E2Softmax, online in slices of 4", "e2softmax", 3),
        ("AILayerNorm, squares as in the paper", "ailayernorm", 0),
        ("AILayerNorm, exact squares", "ailayernorm", 2),
        ("integer LayerNorm", "layernorm", 0),
    ],
)
def test_distance_table(label, operator, case):
    spec = OPERATORS[operator][case].spec()
    found = operator_distance(spec, operator_codes(read_graph(operator_model(spec)), 10_000, 0))
    assert f"| {label} | {found.max_steps:.2f} | {found.mean_steps:.3f} | {found.gain:.4f} |" in RESULTS


def test_sole_table():
    record = json.loads((ROOT / "models" / "zoo" / "digits_vit" / "sole.json").read_text())
    for variant, figures in record["summary"].items():
        row = f"| {variant} | {figures['mean']:.2%} | {figures['spread']:.2%} |".replace("%", " %")
        assert row in RESULTS


def test_character_table():
    record = json.loads((ROOT / "models" / "zoo" / "char_gpt" / "evidence.json").read_text())
    for r in record["rows"]:
        row = f"| {r['name']}: {r['meaning']} | {r['steps']:,} | {r['mean']:.3f} | {r['spread']:.3f} |"
        assert row in RESULTS
    for kind in ("leak", "read_noise", "mismatch"):
        for form, key in (("{:g}", "value"), ("{:.3f}", "mean")):
            assert " | ".join(form.format(x[key]) for x in record["sweeps"][kind]) in RESULTS


def test_encoder_table():
    runs = json.loads((ROOT / "models" / "zoo" / "minilm" / "evidence.json").read_text())
    for name, label in (("E2Softmax", "E2Softmax"), ("SOLE", "both"), ("AILayerNorm", "AILayerNorm, 8-bit output")):
        found = [next(r for r in run["rows"] if r["name"] == name)["agreement"] for run in runs]
        means = [sum(f[key]["mean"] for f in found) / len(found) for key in ("cosine", "spearman")]
        assert f"| {label} | {means[0]:.4f} | {means[1]:.4f} |" in RESULTS


@pytest.mark.parametrize(
    ("form", "choices"),
    [
        ("`io_parallel`", {"io_type": "io_parallel"}),
        ("`io_stream`, reuse factor 1", {"io_type": "io_stream"}),
        ("`io_stream`, reuse factor 16 (chosen)", {"io_type": "io_stream", "reuse_factor": 16}),
    ],
)
def test_estimate_table(form, choices):
    config = HlsConfig(**choices)
    found = estimate(designs(ROOT / "models" / "zoo" / "digits_vit" / "consmax.onnx")(config), config)
    on_board = fit(found.resources, capacity(board("pynq-z2")))
    percent = " | ".join(f"{on_board.percent[kind]:.1f}" for kind in ("dsp", "bram36", "lut"))
    fits = "yes" if on_board.fits else "no"
    row = f"| {form} | {found.resources.multiplier_count} | {percent} | {found.interval} | {fits} |"
    assert row in (PAGES / "streaming.md").read_text()


def test_table_of_the_network():
    flow = overlay_flow("digits", "pynq-z2").for_rtl()
    choice = flow.rtl_choice
    clocks, size = network_cycles(choice.design, flow.graph, 6, dsp=choice.budget.chosen), choice.budget
    form = choice.words.partition(":")[0]
    row = f"| {form} | {clocks.latency:,} | {clocks.interval:,.0f} | {size.dsp} | {size.bram18} | {size.lut:,} |"
    assert row in RTL
    assert f"Another {AROUND:,} LUT are assumed around the" in RTL
    assert re.search(rf"assumed clock of 100 MHz this\s+is {clocks.latency / 100:.2f} us an image", RTL)


@pytest.mark.compile
def test_cycles_of_the_bench():
    flow = overlay_flow("digits", "pynq-z2")
    one, many = (flow.kernel().cycles(n) + added_cycles(design_shell(flow.design)) for n in (1, 64))
    assert re.search(rf"{one:,} cycles for one image,\s+{many:,}\s+for 64", BOARDS)


def test_boards_of_the_page():
    """The list of boards, and the table that a user could write."""
    assert ", ".join(f"`{name}`" for name in load_boards()) in " ".join(BOARDS.split())
    shown = next(b.text for b in blocks(PAGES / "boards.md") if b.language == "toml")
    assert shown in (ROOT / "examples" / "my_boards.toml").read_text()
    assert load_boards(ROOT / "examples" / "my_boards.toml")["my-board"].dsp == 400


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name):
    targets = re.findall(r"\]\(((?!http)[^)#]+)[^)]*\)", (ROOT / name).read_text())
    assert targets or name == "CHANGELOG.md"
    for target in targets:
        assert (ROOT / target).exists(), target
