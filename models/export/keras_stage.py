# SPDX-License-Identifier: Apache-2.0
"""The Keras model behind an exported file, as a stage to compare with."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hls4attn.models.errors import ModelFileError, ToolError, UnsupportedError
from hls4attn.models.export.execute import chunk_size
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.keras_archive import FURTHER_LAYERS, check_archive
from hls4attn.models.export.stages import to_codes
from hls4attn.models.files import read_arrays
from hls4attn.models.formats import Codes

#: Metadata keys of an exported file.
KEY_MODEL, KEY_SCORE, KEY_WEIGHTS, KEY_WEIGHTS_HASH = (
    "hls4attn.model",
    "hls4attn.score",
    "hls4attn.weights",
    "hls4attn.weights_sha256",
)
#: So many characters of what Keras says are shown.
_REASON = 300


def require_keras() -> None:
    """Refuse with a remedy where TensorFlow or QKeras is missing.

    Raises:
        ToolError: naming what to install.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import qkeras
        import tensorflow
    except ImportError as error:
        raise ToolError(
            f'{error.name} is not installed: pip install "hls4attn[keras]" (Python 3.10 or 3.11)'
        ) from error
    del qkeras
    tensorflow.get_logger().setLevel("ERROR")  # hints on retracing help nobody here


def weight_arrays(model: Any) -> dict[str, Any]:
    """A Keras model's variables by name.

    Raises:
        UnsupportedError: if two variables have one name.
    """
    arrays = {v.name: v.numpy() for v in model.weights}
    if len(arrays) != len(model.weights):
        raise UnsupportedError(f"{model.name}: two weights have the same name; name the layers apart")
    return arrays


def load_weights(model: Any, path: Path) -> None:
    """Set a Keras model's variables from a .npz.

    Raises:
        ModelFileError: if names, shapes or values do not fit the model.
    """
    assign_weights(model, read_arrays(path), path)


def assign_weights(model: Any, arrays: Mapping[str, Any], path: Path) -> None:
    """Set a Keras model's variables from arrays that were read from `path`.

    Raises:
        ModelFileError: if names, shapes or values do not fit the model.
    """
    names = [v.name for v in model.weights]
    if set(names) != set(arrays):
        odd = sorted(set(names) ^ set(arrays))
        raise ModelFileError(f"{path} does not belong to {model.name}: weights {odd[:3]} are missing or unknown")
    for variable in model.weights:
        value = arrays[variable.name]
        if value.shape != tuple(variable.shape) or value.dtype.kind != "f" or not np.all(np.isfinite(value)):
            raise ModelFileError(
                f"{path}: {variable.name} must be finite floats of shape {tuple(variable.shape)}. "
                f"Received: {value.dtype} of shape {value.shape}"
            )
    model.set_weights([arrays[n] for n in names])


def load_keras(path: Path) -> Any:
    """A Keras model from a `.keras` archive, our layers and QKeras' known.

    Nothing in the file is executed: only the zip format is read (Keras' older formats unpickle code), and a
    configuration that names a Lambda, a function or a module beyond Keras, QKeras and this package is refused unopened.

    Raises:
        ModelFileError: if the file is missing, in another format, or not readable.
        UnsupportedError: if it names code.
    """
    require_keras()
    from qkeras.utils import _add_supported_quantized_objects
    from tensorflow import keras

    from hls4attn.models.layers import CUSTOM_OBJECTS

    for register in FURTHER_LAYERS:
        register()
    objects: dict[str, Any] = dict(CUSTOM_OBJECTS)
    check_archive(path, {cls.__module__ for cls in CUSTOM_OBJECTS.values()})
    _add_supported_quantized_objects(objects)
    try:
        with warnings.catch_warnings():  # Keras doubts quantisers that are not its own constraints
            warnings.simplefilter("ignore", UserWarning)
            return keras.models.load_model(path, custom_objects=objects, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises anything from KeyError to BadZipFile here
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        reason = reason if len(reason) <= _REASON else f"{reason[:_REASON]} ..."  # Keras shows whole configurations
        raise ModelFileError(f"{path} is not a readable Keras model: {reason}") from error


class KerasStage:
    """The forward pass of the Keras model.

    Args:
        graph: the typed graph of the exported file, which tells formats and names.
        model: the Keras model.
    """

    name = "keras"

    def __init__(self, graph: Graph, model: Any) -> None:
        self.graph = graph
        self.model = model
        expected = (tuple(model.inputs[0].shape[1:]), tuple(model.outputs[0].shape[1:]))
        if expected != (graph.input.shape, graph.output.shape):
            raise ModelFileError(
                f"Keras model {model.name} maps {expected[0]} to {expected[1]}, the ONNX file "
                f"{graph.input.shape} to {graph.output.shape}; they do not belong together"
            )

    def run(self, codes: Codes) -> Codes:
        """Output codes."""
        x = self.graph.input.format.to_real(codes).astype(np.float32)
        y = self.model.predict(x, batch_size=chunk_size(self.graph.input), verbose=0)
        return to_codes(y, self.graph.output.format)

    def trace(self, codes: Codes) -> Mapping[str, Codes]:
        """Codes of every layer's output, those inside attention layers too."""
        from tensorflow import keras

        layers = [x for x in self.model.layers if not isinstance(x, keras.layers.InputLayer)]
        probe = keras.Model(self.model.inputs, [(x.input, x.output) for x in layers])
        found: dict[str, Codes] = {}
        values = probe(self.graph.input.format.to_real(codes).astype(np.float32), training=False)
        for layer, (entering, leaving) in zip(layers, values, strict=True):
            named = layer.trace(entering) if hasattr(layer, "trace") else {layer.name: leaving}
            for name, value in named.items():
                if name in self.graph.tensors:
                    found[name] = to_codes(value.numpy(), self.graph.tensors[name].format)
        return found


def keras_stage(graph: Graph, folder: Path) -> KerasStage:
    """The Keras model that an exported file names in its metadata, found beside it.

    Raises:
        ModelFileError: if the file names none, or it is missing or was changed since the export.
    """
    require_keras()
    name = graph.metadata.get(KEY_WEIGHTS, "")
    if not name or Path(name).name != name:
        raise ModelFileError("the file does not say which Keras model it came from")
    path = folder / name
    if not path.is_file():
        raise ModelFileError(f"the Keras weights {path} are not there")
    if file_hash(path) != graph.metadata.get(KEY_WEIGHTS_HASH):
        raise ModelFileError(f"{path} changed since the export; export again")
    if path.suffix == ".keras":
        return KerasStage(graph, load_keras(path))
    from hls4attn.models.zoo import saved_model

    saved = saved_model(graph.metadata.get(KEY_MODEL, ""))
    return KerasStage(graph, saved.load(graph.metadata.get(KEY_SCORE, ""), path))


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
