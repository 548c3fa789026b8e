# SPDX-License-Identifier: Apache-2.0
"""g++ with a cache: a simulation is compiled once for its sources, its compiler and its flags."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hls4attn.models.errors import ToolError

#: C++11, as Vitis compiles; warnings inside the vendor's headers are not ours to fix.
FLAGS = (
    "-std=c++11",
    "-O2",
    "-ftree-vectorize",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-w",
)
#: What else g++ needs to vectorise at -O2; clang++ does so, and does not know the option.
GCC_FLAGS = ("-fvect-cost-model=dynamic",)
_INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def cache_dir() -> Path:
    """Folder of compiled simulations: ``$HLS4ATTN_CACHE``, else ``~/.cache/hls4attn``."""
    return Path(os.environ.get("HLS4ATTN_CACHE") or Path.home() / ".cache" / "hls4attn")


def ap_types_dir() -> Path:
    """The open ap_types headers that hls4ml ships, found without importing hls4ml.

    Raises:
        ToolError: if hls4ml is not installed.
    """
    spec = importlib.util.find_spec("hls4ml")
    if spec is None or spec.origin is None:
        raise ToolError("hls4ml is not installed (its ap_types headers are needed): pip install 'hls4attn[convert]'")
    folder = Path(spec.origin).parent / "templates" / "vivado" / "ap_types"
    if not (folder / "ap_fixed.h").is_file():
        raise ToolError(f"hls4ml has no ap_types where version 1.3.0 has them: {folder}")
    return folder


def compiler_version() -> str:
    """What the C++ compiler says of itself.

    Raises:
        ToolError: if there is none, or it does not run.
    """
    return _version(find_compiler())


@cache
def _version(compiler: tuple[str, ...]) -> str:
    done = _call([*compiler, "--version"])
    return done.stdout.splitlines()[0] if done.stdout else "unknown"


def _call(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ToolError(
            f"The C++ compiler {command[0]} does not run: {error.strerror}; install g++ or set CXX"
        ) from error


def find_compiler() -> tuple[str, ...]:
    """The C++ compiler, its path and its arguments: ``$CXX``, else g++.

    Raises:
        ToolError: if there is none.
    """
    wanted = os.environ.get("CXX", "")
    try:
        name, *arguments = shlex.split(wanted) or ["g++"]
    except ValueError as error:
        raise ToolError(f"CXX is no command: {wanted!r} ({error}); set it to a C++ compiler, such as g++") from error
    found = shutil.which(name)
    if found is None:
        raise ToolError(
            f"No C++ compiler: {name!r} is not on PATH. Install one (Debian, Ubuntu: apt install g++) or set CXX."
        )
    return (found, *arguments)


def _digest(main: Path, includes: Sequence[Path], extra: Sequence[str]) -> str:
    """Hash over every source that the compiler will read by name, the compiler and the flags."""
    digest = hashlib.sha256("\0".join(extra).encode())
    seen: set[Path] = set()
    queue = [main.resolve()]
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        data = path.read_bytes()
        digest.update(data)
        for name in _INCLUDE.findall(data.decode(errors="replace")):
            for folder in (path.parent, *includes):
                if (candidate := (folder / name).resolve()).is_file():
                    queue.append(candidate)
                    break
    return digest.hexdigest()


def compile_library(main: Path, includes: Sequence[Path], defines: Sequence[str] = (), log: Path | None = None) -> Path:
    """The shared library of a source file, from the cache if nothing it depends on has changed.

    Args:
        main: the one translation unit.
        includes: folders for ``-I``.
        defines: macros, as ``NAME`` or ``NAME=VALUE``.
        log: where the compiler's messages go if it fails; beside `main` if not given.

    Raises:
        ToolError: if there is no compiler, or it fails: with the first error and the path of the log.
    """
    compiler = find_compiler()
    version = _version(compiler)
    flags = [*FLAGS, *(() if "clang" in version else GCC_FLAGS), *(f"-D{d}" for d in defines)]
    digest = _digest(main, includes, (*compiler, version, *flags))
    target = cache_dir() / "csim" / f"{digest[:32]}.so"
    try:
        if target.is_file():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".tmp")
    except OSError as error:
        raise ToolError(
            f"Cannot write the simulation cache {target.parent}: {error.strerror}; set HLS4ATTN_CACHE"
        ) from error
    os.close(handle)
    try:
        command = [*compiler, *flags, *(f"-I{i}" for i in includes), str(main), "-o", temporary]
        done = _call(command)
        if done.returncode != 0:
            raise _failure(command, done, log or main.with_suffix(".log"))
        Path(temporary).replace(target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def _failure(command: list[str], done: subprocess.CompletedProcess[str], log: Path) -> ToolError:
    try:
        log.write_text(" ".join(command) + "\n" + done.stderr)
        where = f"all messages: {log}"
    except OSError as error:
        where = f"cannot write {log}: {error.strerror}"
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    first = errors[0] if errors else f"exit status {done.returncode}"
    return ToolError(f"The C simulation does not compile: {first} ({where})")
