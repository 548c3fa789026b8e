# SPDX-License-Identifier: Apache-2.0
"""What a `.keras` file must be before Keras opens it: nothing in it may run, and this Keras must know its layers."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hls4attn.models.errors import ModelFileError, UnsupportedError

#: Top-level modules that a Keras archive may name, and the classes in them that stand for code.
_KNOWN_MODULES = ("keras", "qkeras", "hls4attn")
_CODE_CLASSES = ("Lambda", "function", "__lambda__", "TFOpLambda", "SlicingOpLambda")
#: How a file of HDF5 begins.
_HDF5 = b"\x89HDF\r\n\x1a\n"
#: Called before a file is opened: they import layers of other packages, which enter themselves in `CUSTOM_OBJECTS`.
FURTHER_LAYERS: list[Callable[[], object]] = []
_SAVE_AGAIN = (
    "in Python qkeras.utils.load_qmodel({path!r}, hls4attn.models.layers.CUSTOM_OBJECTS).save('name.keras'), if you "
    "trust it: the older formats may run code"
)


def check_archive(path: Path, registered: set[str]) -> None:
    """Refuse an archive whose configuration would make Keras import or run anything but known layers.

    Args:
        path: the archive.
        registered: modules of layers that were registered, by this package or another.

    Raises:
        ModelFileError: if there is no such file, or it is of another format or of another Keras.
        UnsupportedError: if it names code.
    """
    _check_kind(path)
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is not a .keras archive of Keras 2.12 or newer (truncated?): {error}") from error
    _check_version(path, metadata)
    open_values = [config]
    while open_values:
        value = open_values.pop()
        if isinstance(value, dict):
            module, name = value.get("module"), value.get("class_name")
            known = module is None or module in registered
            known |= isinstance(module, str) and module.split(".")[0] in _KNOWN_MODULES
            if name in _CODE_CLASSES:
                raise UnsupportedError(
                    f"{path}: its configuration names {module}.{name}, which could run code; refused. Write it with "
                    "layers, or as a layer class of your own"
                )
            if not known:
                raise UnsupportedError(
                    f"{path}: its configuration names {module}.{name}, which is not known here and could run code; "
                    "refused. If you trust it: install its package, if it registers an operator; or enter the class in "
                    "hls4attn.models.layers.CUSTOM_OBJECTS and call hls4attn.models.export.keras_export in Python"
                )
            open_values.extend(value.values())
        elif isinstance(value, list):
            open_values.extend(value)


def _check_kind(path: Path) -> None:
    """Refuse what is no file in Keras' own zip format, with the way to one."""
    if not path.exists():
        raise ModelFileError(f"{path}: expected an existing .keras file; nothing is there")
    if path.is_dir():
        raise ModelFileError(
            f"{path}: expected an existing .keras file. Received: a folder (TensorFlow's SavedModel?); in the "
            "script that made it, model.save('name.keras')"
        )
    if path.suffix == ".onnx":
        raise ModelFileError(
            f"{path}: expected an existing .keras file; ONNX files are taken by: hls4attn import FILE.onnx OUT.onnx"
        )
    try:
        with path.open("rb") as file:
            start = file.read(len(_HDF5))
    except OSError as error:
        raise ModelFileError(f"Cannot read {path}: {error.strerror}") from error
    if start == _HDF5:
        again = _SAVE_AGAIN.format(path=str(path))
        raise ModelFileError(f"{path}: expected an existing .keras file. Received: HDF5, Keras' older format; {again}")
    if path.suffix != ".keras":
        raise ModelFileError(f"{path}: expected an existing .keras file, as model.save('name.keras') writes it")


def _check_version(path: Path, metadata: Any) -> None:
    """Refuse the archive of another Keras, whose layers have other names and options."""
    from keras import __version__ as here

    made_by = str(metadata.get("keras_version", here)) if isinstance(metadata, dict) else here
    if made_by.split(".")[0] != here.split(".")[0]:
        raise ModelFileError(
            f"{path} was written by Keras {made_by}; QKeras needs Keras {here.split('.')[0]}, here {here}. Save the "
            "weights where it was written, np.savez('w.npz', *model.get_weights()), write the model for this Keras, "
            "model.set_weights(list(np.load('w.npz').values())), and save that"
        )
