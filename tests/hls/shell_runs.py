# SPDX-License-Identifier: Apache-2.0
"""Simulations of the shell with Icarus Verilog and cocotb, each in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

from cocotb_tools.runner import get_runner
from shell_models import BANK, CELLS, DESIGNS, LEAST, shell_of

from hls4attn.hls.shell import shell_files, shell_verilog

TOPS = {"plain": DESIGNS[0], "bank": BANK, "cells": CELLS, "least": LEAST}


def write_sources(folder: Path, design: str, changes: Mapping[str, tuple[str, str]] | None = None) -> list[Path]:
    """The Verilog of a design with the module `top`, changed by file if asked: one text for another."""
    folder.mkdir(parents=True, exist_ok=True)
    shell = shell_of(TOPS[design])
    texts = {path.name: path.read_text() for path in shell_files(shell)} | {"top.v": shell_verilog(shell)}
    for name, (old, new) in (changes or {}).items():
        assert texts[name].count(old) == 1, f"{name} holds {texts[name].count(old)} times: {old}"
        texts[name] = texts[name].replace(old, new)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def simulate(
    folder: Path,
    design: str,
    changes: Mapping[str, tuple[str, str]] | None = None,
    *,
    seeds: str = "1",
    steps: int = 60,
) -> dict[str, str]:
    """Run all cases of a design.

    Returns:
        Message of every case that failed, by its name; empty if all passed.
    """
    runner = get_runner("icarus")
    sources = write_sources(folder, design, changes)
    runner.build(
        sources=sources,
        hdl_toplevel="top",
        build_dir=folder / "build",
        build_args=["-Wall"],
        timescale=("1ns", "1ps"),
        log_file=folder / "build.log",
    )
    results = folder / "results.xml"
    environment = {"SHELL_DESIGN": design, "SHELL_SEEDS": seeds, "SHELL_STEPS": str(steps)}
    with suppress(SystemExit):  # what the runner raises if a case fails
        runner.test(
            test_module="shell_stream_cases" if design in ("plain", "bank") else "shell_cell_cases",
            hdl_toplevel="top",
            build_dir=folder / "build",
            test_dir=folder,
            results_xml=str(results),
            seed=1,
            log_file=folder / "test.log",
            extra_env={**environment, "COCOTB_LOG_LEVEL": "ERROR"},
        )
    log = (folder / "test.log").read_text()
    assert results.exists(), log
    cases = list(ET.parse(results).iter("testcase"))
    assert cases, log
    failures = {case.get("name", ""): case.find("failure") for case in cases}
    return {name: failure.get("message", "") for name, failure in failures.items() if failure is not None}
