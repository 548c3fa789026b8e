# SPDX-License-Identifier: Apache-2.0
"""The build folder: what is written before any tool runs, and that one build at a time works in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hls4attn.models.errors import BuildError, SpecError
from hls4attn.models.files import atomic_write
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.scripts import STAGES, Script

LOCK = ".lock"
DESIGN = "design.json"


@dataclass(frozen=True)
class Recipe:
    """All that a build folder is made of, apart from the kernels' sources, which lie in it already.

    Args:
        design: the overlay.
        scripts: what runs in it, in this order.
        files: further files by their path in the folder, such as the shell's Verilog.
        sources: files that somebody else has written into the folder (the kernels' C++).

    Raises:
        SpecError: for scripts that contradict each other, or a path that leaves the folder.
    """

    design: OverlayDesign
    scripts: tuple[Script, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [script.name for script in self.scripts]
        if twice := {name for name in names if names.count(name) > 1}:
            raise SpecError(f"Two scripts have the name {', '.join(sorted(twice))}")
        order = [STAGES.index(script.stage) for script in self.scripts]
        if order != sorted(order):
            raise SpecError(f"Scripts are not in the order of the stages {STAGES}. Received: {names}")
        paths = [*self.files, *self.sources, *(p for s in self.scripts for p in (*s.reads, *s.writes))]
        for path in paths:
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise SpecError(f"Paths of a build are relative and inside its folder. Received: {path}")


def claim(folder: Path, design: OverlayDesign) -> None:
    """Make a folder the build folder of a design, before anything else is written there.

    Raises:
        BuildError: if the folder holds something else than a build, or cannot be read.
        ModelFileError: if it cannot be written.
    """
    try:
        foreign = not (folder / DESIGN).is_file() and any(path.name != LOCK for path in folder.iterdir())
    except OSError as error:
        raise BuildError(f"Cannot read {folder}: {error.strerror}; choose another --out") from error
    if foreign:
        raise BuildError(f"{folder} is not empty and no build folder (no {DESIGN}); choose another --out")
    atomic_write(folder / DESIGN, design.to_json().encode())


def write_folder(recipe: Recipe, folder: Path) -> list[str]:
    """Write scripts and further files; those that are the same already keep their time.

    Args:
        recipe: what is written.
        folder: a claimed one, with the kernels' sources in it.

    Returns:
        All paths in the folder that are written before any tool runs, sorted.

    Raises:
        ModelFileError: if it cannot be written.
    """
    files = {**recipe.files, **{f"scripts/{script.name}.tcl": script.text.encode() for script in recipe.scripts}}
    for name, content in files.items():
        path = folder / name
        if not _holds(path, content):
            atomic_write(path, content)
    return sorted({DESIGN, *files, *recipe.sources})


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file is there already; one that cannot be read is written again, which says why if that fails too."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Work in a build folder alone.

    Yields:
        The lock's file descriptor.  A tool that inherits it holds the lock too, so that a tool that outlives this
        process, killed without a chance to stop it, still keeps others away.

    Raises:
        BuildError: if another build is at work there, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise BuildError(f"Cannot write {folder}: {error.strerror}; choose another --out") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise BuildError(
                f"Another build is at work in {folder} (process {holder}, or a tool that it left behind); wait for it, "
                "stop it, or choose another --out"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def absent(folder: Path, paths: Sequence[str]) -> list[str]:
    """Those that are not there, or are empty files."""
    return [path for path in paths if not _present(folder / path)]


def _present(path: Path) -> bool:
    if path.is_dir():
        return any(path.iterdir())
    return path.is_file() and path.stat().st_size > 0
