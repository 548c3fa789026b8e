# SPDX-License-Identifier: Apache-2.0
"""Files a user names: outputs are checked before long work begins, and never replace an input."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.models.errors import InputError, ModelFileError


def check_output(path: Path | None, suffix: str | None = None, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse an output file that could not be written, or that is one of the inputs; None is no output.

    Args:
        path: file to write; nothing is left there.
        suffix: how its name must end.
        inputs: files that are read, or other outputs.

    Raises:
        InputError: saying which file, and why.
    """
    if path is None:
        return
    if suffix is not None and path.suffix != suffix:
        raise InputError(f"{path}: the file to write must end in {suffix}")
    for other in inputs:
        if other is not None and _same(path, other):
            raise InputError(f"{path} is to be written but is also {other}; choose another name")
    _try_writing(path, folder=False)


def check_folder(path: Path) -> None:
    """Refuse an output folder in which nothing could be written.

    Raises:
        InputError: saying which folder, and why.
    """
    _try_writing(path, folder=True)


def check_archive(archive: Path, target: Path, source: Path) -> None:
    """Refuse to put a Keras model over one that does not belong to the ONNX file beside it.

    Args:
        archive: Keras model to write.
        target: ONNX file to write with it.
        source: Keras model that is read.

    Raises:
        InputError: if `archive` is `source`, or a file that `target` does not name as its own.
    """
    if _same(archive, source):
        raise InputError(f"{target} would put the integer model over {source}; choose another name")
    check_output(archive)
    if archive.exists() and _weights_of(target) != archive.name:
        raise InputError(f"{archive} exists and does not belong to {target}; remove it or choose another name")


def read_npy(path: Path) -> Any:
    """The array of a .npy file, without pickle.

    Raises:
        InputError: if the file is missing or anything else.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a readable .npy array: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path} is not a readable .npy array: it is an archive of arrays")
    return array


def _same(a: Path, b: Path) -> bool:
    try:
        return a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b))
    except (OSError, RuntimeError):  # too long a name or a loop of links: nothing that can be written
        return False


def _try_writing(path: Path, folder: bool) -> None:
    """Make and remove a file where the first missing part of the path would come into being."""
    try:
        if path.exists() and path.is_dir() != folder:
            raise InputError(f"Cannot write {path}: it is {'no' if folder else 'a'} folder")
        parent = path.absolute().parent
        while not parent.exists() and parent != parent.parent:
            parent = parent.parent
        handle, name = tempfile.mkstemp(dir=parent, prefix=f".{path.name}.building-")
        os.close(handle)
        Path(name).unlink()
        if folder and path.exists():
            handle, name = tempfile.mkstemp(dir=path)
            os.close(handle)
            Path(name).unlink()
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror}; choose another place") from error


def _weights_of(path: Path) -> str | None:
    """The Keras model that an ONNX file names, if it is there and names one."""
    from hls4attn.models.export.keras_stage import KEY_WEIGHTS  # a board has no ONNX
    from hls4attn.models.export.reader import load_model

    try:
        model = load_model(path)
    except ModelFileError:
        return None
    return next((p.value for p in model.metadata_props if p.key == KEY_WEIGHTS), None)
