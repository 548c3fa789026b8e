# SPDX-License-Identifier: Apache-2.0
"""The verb `build` with kernels in Verilog: no high-level synthesis, all else as ever."""

import io
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xmlschema
from command_line import command

from hls4attn.hls.rtl.ip import write_ip
from hls4attn.host.building import plans, verb
from hls4attn.host.building.verilog import rtl_operators
from hls4attn.host.operators_overlay import bank_cases, simulated_operators
from hls4attn.overlays.package import read_package
from tests.echo_unit import echo
from tests.fake_vivado.workshop import Workshop, runs

STAGES = ["kernel_digits_kernel", "shell", "design", "synthesis", "implementation", "bitstream"]


@pytest.fixture
def small(monkeypatch):
    """A small unit in place of the model's, which other tests are about."""

    def network(flow):
        (kernel,) = flow.design.kernels
        return lambda folder: (write_ip(kernel.name, echo(), folder / kernel.name, flow.settings.part),), ("Verilog",)

    monkeypatch.setattr(plans, "network_kernel", network)


@pytest.fixture
def workshop(small, tmp_path, monkeypatch):
    """The real scripts, and fake tools that play them; no high-level synthesis among these."""
    workshop = Workshop(tmp_path, monkeypatch, ("vivado",))
    written = verb._recipe

    def recipe(plan, folder):
        made = written(plan, folder)
        workshop.set(made.scripts, plan.design)
        return made

    monkeypatch.setattr(verb, "_recipe", recipe)
    monkeypatch.chdir(tmp_path)
    return workshop


def test_a_whole_build_needs_vivado_alone(workshop, capsys, monkeypatch, tmp_path):
    code, out, err = command(capsys, monkeypatch, "build", "--rtl", "--out", "b", "--json", "r.json")
    assert code == 0, err
    assert "  Verilog\n" in out
    assert "kernels/digits_kernel/ (5 files)" in out and "clean (" in out and "all as in the handoff" in out
    assert "[1/6] kernel (kernel_digits_kernel) ..." in err
    assert "digits_kernel: Verilog, not made by high-level synthesis" in out and "timing met" in out
    assert runs(tmp_path / "b") == STAGES and not (tmp_path / "b" / "hls").exists()
    (result,) = json.loads((tmp_path / "r.json").read_text())["overlays"]
    assert result["record"]["kernels"] == {"digits_kernel": "rtl"} and result["record"]["reports"]["hls"] == {}
    assert read_package(tmp_path / "b" / "overlay").design.name == "digits"
    with zipfile.ZipFile(result["archive"]) as archive:
        assert {"digits-pynq-z2/vectors.npz", "digits-pynq-z2/overlay/digits.bit"} <= set(archive.namelist())
    code, _, err = command(capsys, monkeypatch, "build", "--rtl", "--out", "b")
    assert code == 0 and err.count("done before") == 6


def test_the_same_folder_with_the_other_kernel(workshop, capsys, monkeypatch, tmp_path):
    """Nothing of the first build passes for a result of the second."""
    workshop.add("vitis-run")
    code, out, _ = command(capsys, monkeypatch, "build", "--out", "b")
    assert code == 0 and "cycles by high-level synthesis" in out
    runs(tmp_path / "b")
    code, out, err = command(capsys, monkeypatch, "build", "--rtl", "--out", "b", "--json", "r.json")
    assert code == 0 and "cycles by high-level synthesis" not in out, err
    assert runs(tmp_path / "b") == STAGES
    (result,) = json.loads((tmp_path / "r.json").read_text())["overlays"]
    assert result["record"]["reports"]["hls"] == {} and result["record"]["kernels"] == {"digits_kernel": "rtl"}


def test_without_vivado_only_vivado_is_missing(small, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", os.defpath)
    code, out, err = command(capsys, monkeypatch, "build", "--rtl", "--out", tmp_path / "b", "--json", tmp_path / "r")
    assert code == 5 and "not found on PATH: Vivado (vivado). All else" in err and "HLS" not in err
    assert "not found on PATH: Vivado" in out and "scripts/kernel_digits_kernel.tcl" in out.split("not run")[1]
    assert (tmp_path / "b" / "kernels" / "digits_kernel" / "component.xml").is_file()
    (result,) = json.loads((tmp_path / "r").read_text())["overlays"]
    assert result["missing"] == ["Vivado (vivado)"] and result["record"]["kernels"] == {"digits_kernel": "rtl"}


def test_the_model_itself_up_to_the_tools(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", os.defpath)
    code, out, err = command(capsys, monkeypatch, "build", "--rtl", "--dry-run", "--out", tmp_path / "b")
    assert code == 0, err
    assert "digits for pynq-z2" in out and "clean (" in out and "all as in the handoff" in out
    assert re.search(
        r"io_stream, 2 heads at a time, .* clocks a row in dense layers: the fastest that fits pynq-z2", out
    )
    assert "by count" in out and "BRAM18: counted, not synthesised" in out
    clocks = int(re.search(r"([\d,]+) clocks from", out)[1].replace(",", ""))
    code, out, err = command(
        capsys, monkeypatch, "build", "--rtl", "--dry-run", "--reuse", "8", "--out", tmp_path / "c"
    )
    assert code == 0 and "reuse factor 8" in out, err
    assert int(re.search(r"([\d,]+) clocks from", out)[1].replace(",", "")) > clocks
    home = tmp_path / "b" / "kernels" / "digits_kernel"
    read = {path.name for path in (home / "src").glob("*.mem")}
    assert read == set(re.findall(r'"(\w+\.mem)"', (home / "src" / "digits_kernel.v").read_text())) and len(read) > 20
    xmlschema.XMLSchema(Path(__file__).parents[1] / "hls" / "component.xsd").validate(home / "component.xml")
    script = (tmp_path / "b" / "scripts" / "kernel_digits_kernel.tcl").read_text()
    assert all(f"kernels/digits_kernel/src/{name}" in script for name in read)


def test_what_has_no_rtl_is_refused_before_anything_is_written(capsys, monkeypatch, tmp_path):
    code, out, err = command(capsys, monkeypatch, "build", "--rtl", "--lanes", "4", "--out", tmp_path / "b")
    assert code == 2 and "lanes" in err and out == "" and not (tmp_path / "b").exists()


def test_heads_that_the_user_chose(capsys, monkeypatch, tmp_path):
    """The smallest reuse factor that fits as C++ goes with them."""
    monkeypatch.setenv("PATH", os.defpath)
    arguments = ("--parallel-heads", "2", "--dry-run", "--out", tmp_path / "b")
    code, out, err = command(capsys, monkeypatch, "build", "--rtl", *arguments)
    assert code == 0 and int(re.search(r"io_stream, 2 heads at a time, reuse factor (\d+)", out)[1]) > 1, err


def test_the_bank_of_operators(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", os.defpath)
    arguments = ("--overlay", "operators", "--rtl", "--dry-run", "--json", tmp_path / "r", "--out", tmp_path / "b")
    code, out, err = command(capsys, monkeypatch, "build", *arguments)
    assert code == 0, err
    assert "left out: e2softmax_shift: No streaming unit for E2Context" in out and "all as in the handoff" in out
    (result,) = json.loads((tmp_path / "r").read_text())["overlays"]
    kernels = sorted(path.name for path in (tmp_path / "b" / "kernels").iterdir())
    assert kernels == sorted(f"{case.name}_kernel" for case in bank_cases() if case.name != "e2softmax_shift")
    assert [name for name in result["not_run"] if "hls" in name] == []
    tables = [path.name for path in (tmp_path / "b").rglob("*.mem")]
    assert len(tables) == len(set(tables)) > len(kernels)


def test_vectors_are_those_of_the_operators_that_are_there(monkeypatch):
    monkeypatch.setattr(plans, "VECTORS", 8)
    bank, _, left_out = rtl_operators("pynq-z2")
    vectors = np.load(io.BytesIO(plans._operator_vectors(bank)["vectors.npz"]))
    assert {key.split(".")[0] for key in vectors.files} == {operator.name for operator in bank.operators}
    assert len(left_out) == 1 and simulated_operators(bank) is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--overlay", "gaincell"), "--rtl builds digits or operators; leave it out. Received: --overlay gaincell"),
        (("--overlay", "all"), "--rtl builds digits or operators"),
        (("--backend", "Vitis"), "leave out --backend Vitis, or --rtl"),
        (("--io", "io_parallel"), "leave out --io io_parallel, or --rtl"),
    ],
)
def test_what_does_not_go_with_it(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(capsys, monkeypatch, "build", "--rtl", *arguments)
    assert code == 2 and message in err and out == "" and not any(tmp_path.iterdir())
