# SPDX-License-Identifier: Apache-2.0
"""What the README and the pages count is compared with the files it came from; `tests/docs` runs their examples."""

import re

import pytest

from hls4attn.hls import HlsConfig
from hls4attn.hls.estimate import estimate
from hls4attn.hls.fit import AROUND_BRAM18, AROUND_LUT, FILLED, fit
from hls4attn.hls.rtl.net.cycles import network_cycles
from hls4attn.hls.shell import added_cycles
from hls4attn.host.estimate import capacity, designs
from hls4attn.host.library import overlay_flow
from hls4attn.host.report.arithmetic import DRAWN, TYPICAL
from hls4attn.overlays.boards import board, load_boards
from hls4attn.overlays.shell import design_shell
from tests.documents import DOCUMENTS, PAGES, ROOT, blocks

BOARDS = (PAGES / "boards.md").read_text()
RTL = (PAGES / "rtl.md").read_text()


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    found = [t for page in DOCUMENTS for t in re.findall(r"`make ([\w-]+)`", page.read_text())]
    assert {"test", "test-all", "docs"} <= set(found)
    for target in found:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


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
    assert f"Another {AROUND_LUT:,} LUT are assumed around the" in RTL
    assert re.search(rf"assumed clock of 100 MHz this\s+is {clocks.latency / 100:.2f} us an image", RTL)


def test_what_is_assumed_around_a_kernel():
    said = " ".join((PAGES / "limits.md").read_text().split())
    assert f"for which {AROUND_LUT:,} LUTs and {AROUND_BRAM18} BRAM18 are assumed, and uses {100 * FILLED:g} %" in said
    said = " ".join((PAGES / "streaming.md").read_text().split())
    assert f"{AROUND_LUT:,} LUT and {AROUND_BRAM18} BRAM18, which are assumed, and {100 * FILLED:g} % of all" in said


def test_samples_of_a_report():
    said = " ".join((PAGES / "reports.md").read_text().split())
    assert f"Errors and row sums are of {TYPICAL} samples" in said
    assert f"(of the character GPT {TYPICAL // 2})" in said
    assert f"over at most {TYPICAL} samples, and shows the attention of two" in (PAGES / "limits.md").read_text()
    assert DRAWN == 2 and "of two samples" in said


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
