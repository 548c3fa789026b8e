# SPDX-License-Identifier: Apache-2.0
"""The files that a plan names, by what is in them: a point stays the same when its folder moves."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hls4attn.host.installed import GROUP
from hls4attn.host.paths import read_npy
from hls4attn.models.errors import InputError, ModelFileError, SpecError
from hls4attn.overlays.boards import ENVIRONMENT, Board
from hls4attn.overlays.boards import board as find_board

MODELS = (".onnx", ".keras")


@dataclass(frozen=True)
class ModelSource:
    """A model or its calibration inputs.

    Attributes:
        name: absolute path, or a zoo model's name.
        sha256: of the file's content; None for a name.
    """

    name: str
    sha256: str | None

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.name)

    @property
    def identity(self) -> str:
        """Equal for what gives equal results."""
        return self.sha256 or self.name


def model_source(where: str, name: Any, folder: Path) -> ModelSource:
    """A model file that can be read.

    Args:
        where: how errors call the place that names it.
        name: its path, as written.
        folder: what a relative path starts from.

    Raises:
        InputError: if it is missing or no model.
    """
    path = _file(where, "model", name, folder)
    if path.suffix not in MODELS:
        advice = "; make one with hls4attn export" if path.suffix in (".npz", ".h5") else ""
        raise InputError(f"{where}: {name} is neither an .onnx file nor a float .keras model{advice}")
    try:
        if path.suffix == ".keras":
            if not zipfile.is_zipfile(path):
                raise ModelFileError(f"{path} is no .keras archive, or a truncated one")
        else:
            from hls4attn.models.export.reader import load_model

            load_model(path)
    except ModelFileError as error:
        raise InputError(f"{where}: {error}") from error
    return ModelSource(str(path), _sha256(path))


def calibration_source(where: str, name: Any, folder: Path) -> ModelSource:
    """Calibration inputs: a .npy file, or the name of a zoo model.

    Raises:
        InputError: if it is neither.
    """
    if isinstance(name, str) and not name.endswith(".npy"):
        from hls4attn.models.zoo import zoo_model

        try:
            zoo_model(name)
        except SpecError as error:
            raise InputError(f"{where}: calibration takes a .npy file of inputs or a zoo model. {error}") from error
        return ModelSource(name, None)
    path = _file(where, "calibration", name, folder)
    try:
        read_npy(path)
    except InputError as error:
        raise InputError(f"{where}: calibration: {error}") from error
    return ModelSource(str(path), _sha256(path))


def board_source(name: str) -> dict[str, str | None]:
    """What a point keeps about its board besides the name: a hash of its figures, and where others are described."""
    extra = os.environ.get(ENVIRONMENT)
    return {
        "board_sha256": board_digest(find_board(name)),
        "boards": str(Path(extra).absolute()) if extra else None,
    }


@cache
def operators_digest() -> str | None:
    """Hash of the packages with further operators, with their kernels; None if none is installed.

    It is taken once in a process: an evaluation has the operators that were there when they were imported.
    """
    entries = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: (e.name, e.value))
    if not entries:
        return None
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.name}\0{entry.value}\0".encode())
        for name, path in _files_of(entry.module.partition(".")[0]):
            digest.update(f"{name}\0{_sha256(path)}\0".encode())
    return digest.hexdigest()


def _files_of(package: str) -> list[tuple[str, Path]]:
    """All files of an importable package but compiled and hidden ones, by their names in it."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return []  # whoever loads it says so
    if spec.submodule_search_locations is None:
        return [(package, Path(spec.origin or ""))]
    found = []
    for root in map(Path, spec.submodule_search_locations):
        names = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        seen = [n for n in names if not any(part.startswith((".", "__pycache__")) for part in n.parts)]
        found += [(name.as_posix(), root / name) for name in seen]
    return sorted(found)


def board_digest(board: Board) -> str:
    """Hash of a board's figures."""
    return hashlib.sha256(json.dumps(board.to_dict(), sort_keys=True).encode()).hexdigest()


def _file(where: str, axis: str, name: Any, folder: Path) -> Path:
    if not isinstance(name, str) or not name:
        raise InputError(f"{where}: {axis} takes paths. Received: {name!r}")
    try:
        path = Path(os.path.abspath(folder / Path(name).expanduser()))  # noqa: PTH100  # a link stays the name it has
    except RuntimeError as error:
        raise InputError(f"{where}: {axis}: {name!r} begins with the home of nobody here: {error}") from error
    try:
        there = path.is_file()
    except OSError as error:  # too long a name, or a folder that is not ours to look into
        raise InputError(f"{where}: {axis}: cannot read {str(path)!r:.200}: {error.strerror}") from error
    if not there:
        raise InputError(f"{where}: {axis}: no such file: {path} ({name!r} is taken relative to {folder})")
    return path


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
