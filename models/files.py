# SPDX-License-Identifier: Apache-2.0
"""Files that survive an interruption: written beside the target, then renamed."""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import ModelFileError


def atomic_write(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, or leave it untouched if anything fails."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ModelFileError(f"Cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise ModelFileError(f"Cannot write {path}: {error.strerror}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    atomic_write(path, (json.dumps(value, indent=2) + "\n").encode())


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a compressed .npz atomically."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))
    atomic_write(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read a .npz without pickle.

    Raises:
        ModelFileError: if the file is missing, truncated or holds anything but plain arrays.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it is one array, as in a .npy")
        with archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise ModelFileError(f"No such file: {path}") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path} is not a readable .npz of plain arrays: {error}") from error
