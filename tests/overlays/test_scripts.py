# SPDX-License-Identifier: Apache-2.0
"""The build scripts: sound in every version and on every board, restartable, and loud when a run fails."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from build_folders import build_folder, kernel_of
from overlay_designs import BOARDS, cells, make

from hls4attn.models.errors import SpecError
from hls4attn.overlays import scripts as scripts_module
from hls4attn.overlays.block_design import block_values
from hls4attn.overlays.boards import board
from hls4attn.overlays.clocks import pl_clock
from hls4attn.overlays.dryrun import dry_run
from hls4attn.overlays.scripts import STAGES, overlay_scripts
from hls4attn.overlays.shell import design_shell, rtl_files
from hls4attn.overlays.tcl_text import variables, word

VERSIONS = ("2020.1", "2020.2", "2021.2", "2022.2", "2023.2", "2024.2", "2025.1.1", "2025.2")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder and scripts of the small design that most tests here share."""
    folder = tmp_path_factory.mktemp("build")
    return make(), folder, build_folder(make(), folder)


@pytest.fixture(scope="module")
def verilog(tmp_path_factory):
    """The same with a kernel in Verilog."""
    folder = tmp_path_factory.mktemp("verilog")
    return make(), folder, build_folder(make(), folder, rtl=True)


def place(scripts, stage):
    """Number of the first script of a stage."""
    return next(number for number, script in enumerate(scripts) if script.stage == stage)


@pytest.mark.parametrize("on", BOARDS)
@pytest.mark.parametrize("kind", [make, cells])
def test_scripts_draw_the_handoff_of_every_board(on, kind, tmp_path):
    design = kind(on=on)
    report = dry_run(build_folder(design, tmp_path), tmp_path, design=design)
    assert [str(problem) for problem in report.problems] == []
    assert not report.warnings
    assert report.commands > 300
    assert report.parameters[design.dma.instance]["c_sg_length_width"] == "26"


@pytest.mark.parametrize("version", VERSIONS)
def test_scripts_run_in_every_version(built, version):
    design, folder, scripts = built
    report = dry_run(scripts, folder, version, design=design)
    assert [str(problem) for problem in report.problems] == []
    assert report.scripts == tuple(script.name for script in scripts)


def test_stages_are_all_there_in_order_and_files_pass_from_one_to_the_next(built):
    _, _, scripts = built
    of_cpp = tuple(stage for stage in STAGES if stage != "kernel")
    assert tuple(script.stage for script in scripts) == of_cpp
    made = {path for script in scripts for path in script.writes}
    for script in scripts[1:]:
        assert all(path in made or path.startswith("rtl/") for path in script.reads), script.name
    assert {"out/nn.bit", "out/nn.hwh", "out/nn.xsa", "reports/timing.rpt", "reports/hls_nn_kernel.xml"} <= made


def test_texts_hold_no_path_of_the_folder_and_do_not_change(built, tmp_path):
    design, folder, scripts = built
    assert all(str(folder) not in script.text and str(Path.home()) not in script.text for script in scripts)
    assert build_folder(design, tmp_path) == scripts
    assert all(script.text.startswith("# SPDX") for script in scripts)


def test_only_the_second_concat_is_left(built):
    design, folder, scripts = built
    report = dry_run(scripts, folder, "2025.2", design=design, without=["xilinx.com:ip:xlconcat"])
    assert report.clean
    assert report.cells["xlconcat_0"] == "xilinx.com:inline_hdl:ilconcat:1.0"
    both = ["xilinx.com:ip:xlconcat", "xilinx.com:inline_hdl:ilconcat"]
    report = dry_run(scripts, folder, "2025.2", without=both)
    assert "the IP catalogue has no xilinx.com:ip:xlconcat or" in str(report.problems[0])


def test_a_concat_that_is_listed_and_cannot_be_made(built):
    """The catalogue lists what is discontinued; the other kind is taken then."""
    design, folder, scripts = built
    created = "create_bd_cell -type $type -vlnv $vlnv $instance"
    refusing = f'expr {{$vlnv eq "xilinx.com:ip:xlconcat:2.1" ? [error discontinued] : [{created}]}}'
    at = place(scripts, "design")
    assert created in scripts[at].text
    edited = replace(scripts[at], text=scripts[at].text.replace(created, refusing))
    report = dry_run([*scripts[:at], edited, *scripts[at + 1 :]], folder, "2025.2", design=design)
    assert report.clean
    assert report.cells["xlconcat_0"] == "xilinx.com:inline_hdl:ilconcat:1.0"
    report = dry_run([*scripts[:at], edited], folder, "2020.1")
    assert "would be one; xilinx.com:ip:xlconcat:2.1 cannot be made: discontinued" in str(report.problems[0])


@pytest.mark.parametrize("crystal", [33.333, 33.3333, 33.333333])
@pytest.mark.parametrize("mhz", [50, 99.999, 100, 150, 250])
def test_the_clock_is_made_with_the_crystal_of_any_preset(crystal, mhz, tmp_path):
    """The tool's own dividers, at or below the request, are those of the design."""
    design = make(on="zcu104", clock_mhz=mhz)
    asked = dict(block_values(design)["ps_config"])["CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ"]
    preset = replace(design.board, ps_clock_mhz=crystal)
    made = pl_clock(preset, asked)
    assert made.div0 * made.div1 == design.clock.div0 * design.clock.div1


def test_a_board_file_that_is_not_there(built):
    _, folder, scripts = built
    report = dry_run(scripts, folder, boards=["xilinx.com:zcu104:part0:1.1"])
    assert "no board file for tul.com.tw:pynq-z2:part0:1.0: install it in Vivado" in str(report.problems[0])
    assert "HLS4ATTN_BOARD_FILES" in str(report.problems[0])


def test_another_revision_of_a_board_file_is_taken_and_said(tmp_path):
    design = make(on="kv260")
    installed = ["xilinx.com:kv260_som:part0:1.2", "xilinx.com:kv260_som:part0:1.3"]
    report = dry_run(build_folder(design, tmp_path), tmp_path, design=design, boards=installed)
    assert report.clean
    assert [warning.text for warning in report.warnings] == [
        f"WARNING: board file {design.board.board_part} is not installed; taking xilinx.com:kv260_som:part0:1.3"
    ]


def test_a_carrier_card_that_this_vivado_does_not_know_is_left_out(tmp_path):
    design = make(on="kv260")
    scripts = build_folder(design, tmp_path)
    at, stage = place(scripts, "design"), "set_property board_connections $board_connections [current_project]"
    assert stage in scripts[at].text
    edited = replace(scripts[at], text=scripts[at].text.replace(stage, "error unknown"))
    report = dry_run([*scripts[:at], edited, *scripts[at + 1 :]], tmp_path, design=design)
    assert report.clean
    assert [warning.text for warning in report.warnings] == [
        f"WARNING: without the carrier card {design.board.board_connections}: unknown"
    ]


def test_a_pin_that_this_vivado_names_otherwise_stops_the_stage(built):
    _, folder, scripts = built
    at = place(scripts, "design")
    renamed = replace(scripts[at], text=scripts[at].text.replace("axi_dma_0/mm2s_introut", "axi_dma_0/mm2s_intr"))
    report = dry_run([*scripts[:at], renamed], folder)
    assert "expected one axi_dma_0/mm2s_intr in the block design, found 0" in str(report.problems[1])


@pytest.mark.parametrize(
    ("step", "stage", "run"),
    [
        ("synth_design", "synthesis", "synth_1"),
        ("route_design", "implementation", "impl_1"),
        ("write_bitstream", "bitstream", "impl_1"),
    ],
)
def test_a_run_that_fails_fails_the_script(built, step, stage, run):
    """The tool goes on after a run that failed, so the script must look."""
    _, folder, scripts = built
    report = dry_run(scripts, folder, failing=[step])
    texts = [str(problem) for problem in report.problems]
    assert f"run {run} ended with status '{step} ERROR' at 50%" in texts[0]
    assert texts[1:] == [f"{stage}: the script ends with exit code 1"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_can_be_run_again(built, verilog, stage):
    design, folder, scripts = verilog if stage == "kernel" else built
    at = place(scripts, stage)
    again = [scripts[at], *scripts[at:]] if stage != "bitstream" else [scripts[at], scripts[at]]
    # once as a whole and then from the stage on, twice
    report = dry_run([*scripts[:at], *again], folder, design=design)
    assert [str(problem) for problem in report.problems] == []


@pytest.mark.parametrize("stage", ["synthesis", "implementation", "bitstream"])
def test_a_stage_that_failed_can_be_run_again(built, stage):
    """A failed run must be reset before it is launched; here its status is set by hand."""
    _, folder, scripts = built
    at = place(scripts, stage)
    run = "synth_1" if stage == "synthesis" else "impl_1"
    broken = replace(scripts[at], text=crash(scripts[at].text, run), writes=())
    report = dry_run([*scripts[:at], broken, *scripts[at:]], folder)
    assert [str(problem) for problem in report.problems] == []


def crash(text: str, run: str) -> str:
    """A stage that ends in the middle, with its run in error."""
    launched = "proc hls4attn::start_run {run args} {"
    assert launched in text
    ending = f'{launched}\n    set_property STATUS "crash ERROR" [get_runs {run}]\n    close_project\n    exit 0\n'
    return text.replace(launched, ending)


def test_kernels_must_be_those_of_the_design(tmp_path):
    design = make()
    kernel = kernel_of(design, 0, tmp_path)
    for wrong in ([], [kernel, kernel], [replace(kernel, name="other")], [replace(kernel, user_bits=8)]):
        with pytest.raises(SpecError, match=r"needs the kernels .*'nn_kernel', 0.* Received: "):
            overlay_scripts(design, wrong)
    with pytest.raises(SpecError, match="written for xczu7ev-ffvc1156-2-e, the overlay for xc7z020clg400-1"):
        overlay_scripts(design, [replace(kernel, part=board("zcu104").part)])


def test_the_shell_has_the_constants_of_the_design():
    shell = design_shell(make())
    low, high = make().model_id_words
    assert (shell.model_id, shell.answer_words, shell.selectable) == (high << 32 | low, (4,), False)
    shell = design_shell(cells())
    assert shell.cells is not None
    assert (shell.cells.layers, shell.cells.window, shell.cells.token_words) == (2, 8, 9)
    assert shell.cells.table_words == cells().table.size
    assert {"gaincell.v", "attn_cells.v"} <= rtl_files(cells()).keys()
    assert "attn_cells.v" not in rtl_files(make())


@pytest.mark.parametrize(
    ("jobs", "result"), [(None, "2"), ("6", "6"), ("0", "HLS4ATTN_JOBS must"), ("x", "HLS4ATTN_JOBS must")]
)
def test_jobs_come_from_the_environment(jobs, result, tmp_path):
    common = Path(scripts_module.__file__).parent / "tcl" / "common.tcl"
    script = tmp_path / "jobs.tcl"
    script.write_text(f"namespace eval hls4attn {{}}\nsource {{{common}}}\ncatch hls4attn::jobs text\nputs $text\n")
    environment = {} if jobs is None else {"HLS4ATTN_JOBS": jobs}
    done = subprocess.run([tclsh(), script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(result)


def tclsh() -> str:
    found = shutil.which("tclsh")
    assert found, "make setup installs Tcl"
    return found


AWKWARD = [
    "",
    " ",
    "a b",
    "$x",
    "[exit]",
    '"',
    "\\",
    "a\\",
    "{",
    "}",
    "}{",
    "{a}",
    ";",
    "#c",
    "a\nb",
    "a\tb",
    "\\n",
    "é",
]


def test_words_come_back_as_they_were(tmp_path):
    values = [*AWKWARD, *AWKWARD[::-1]]
    script = tmp_path / "words.tcl"
    text = variables("v", {"all": values, "one": "x y", "deep": [[["a b"]], []], "n": 2.5})
    text += "set ::text [string map {\\n <nl> \\t <tab>} [join $v::all |]]\nfconfigure stdout -encoding utf-8\n"
    script.write_text(text + 'puts "$::text"\nputs "$v::one,[lindex $v::deep 0 0 0],$v::n"\n', encoding="utf-8")
    done = subprocess.run([tclsh(), "-encoding", "utf-8", script], capture_output=True, encoding="utf-8", check=True)
    expected = "|".join(values).replace("\n", "<nl>").replace("\t", "<tab>")
    assert done.stdout == f"{expected}\nx y,a b,2.5\n"
    assert word(["a", 1, ["b c"]]) == "{a 1 {{b c}}}"
