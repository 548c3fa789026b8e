# SPDX-License-Identifier: Apache-2.0
"""A zoo model's test set as integer codes with the reference's answers, for boards without ONNX and data set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import ModelFileError
from hls4attn.models.files import read_arrays, write_arrays
from hls4attn.models.formats import Codes

if TYPE_CHECKING:
    from hls4attn.models.export.graph import Graph

#: Behind the stem of the model's file.
SUFFIX = "_vectors.npz"
_KEYS = {"inputs", "labels", "outputs"}


@dataclass(frozen=True, eq=False)
class Vectors:
    """The test set of one model.

    Attributes:
        model_id: SHA-256 of the model file, in hexadecimal.
        inputs: input codes, one row a sample.
        labels: the class of each sample; None where there are no classes.
        outputs: what the integer reference answers.
    """

    model_id: str
    inputs: Codes
    labels: NDArray[np.int64] | None
    outputs: Codes

    def __len__(self) -> int:
        return len(self.inputs)

    def accuracy(self, outputs: NDArray[Any]) -> float | None:
        """Share of samples whose largest output is that of their class; None where there are no classes."""
        if self.labels is None:
            return None
        return float(np.mean(np.argmax(outputs, axis=1) == self.labels))

    def mismatches(self, outputs: Codes) -> int:
        """Samples with any output code that differs from the reference's."""
        wrong = np.asarray(outputs) != self.outputs
        return int(np.count_nonzero(wrong.reshape(len(wrong), -1).any(axis=1)))


def make_vectors(model: Path, images: NDArray[Any], labels: NDArray[Any] | None = None) -> Vectors:
    """Run the integer reference of an ONNX file on a test set.

    Args:
        model: the file.
        images: real inputs.
        labels: their classes, if they have any.

    Raises:
        ModelFileError: if it is no valid ONNX file.
    """
    from hls4attn.models.export.execute import quantise_input  # boards have no ONNX
    from hls4attn.models.export.reader import load_model, read_graph

    proto = load_model(model)
    graph = read_graph(proto)
    digest = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
    return reference_vectors(graph, digest, quantise_input(graph, images), labels)


def reference_vectors(graph: Graph, model_id: str, inputs: Codes, labels: NDArray[Any] | None = None) -> Vectors:
    """Run the integer reference on input codes.

    Args:
        graph: the model.
        model_id: SHA-256 of its file, in hexadecimal.
        inputs: one row a sample.
        labels: their classes, if they have any.
    """
    from hls4attn.models.export.execute import Reference

    return Vectors(model_id, inputs, None if labels is None else labels.astype(np.int64), Reference(graph).run(inputs))


def write_vectors(vectors: Vectors, model: Path) -> Path:
    """Write them beside a model file, in the smallest integers that hold them; returns the file."""
    path = model.with_name(model.stem + SUFFIX)
    codes = {"inputs": vectors.inputs, "outputs": vectors.outputs}
    codes |= {} if vectors.labels is None else {"labels": vectors.labels}
    types = {name: np.promote_types(*map(np.min_scalar_type, (a.min(), a.max()))) for name, a in codes.items()}
    small = {name: a.astype(types[name]) for name, a in codes.items()}
    write_arrays(path, {"model_id": np.frombuffer(bytes.fromhex(vectors.model_id), dtype=np.uint8), **small})
    return path


def read_vectors(model: Path) -> Vectors:
    """The vectors beside a model file, which need not be there itself.

    Raises:
        ModelFileError: if they are missing, damaged or not such a file.
    """
    path = model.with_name(model.stem + SUFFIX)
    arrays = read_arrays(path)
    identity = arrays.pop("model_id", np.zeros(0, dtype=np.uint8))
    codes = {name: a.astype(np.int64) for name, a in arrays.items() if a.dtype.kind in "iu" and a.ndim}
    same = len({len(a) for a in codes.values()}) == 1
    if not (same and {"inputs", "outputs"} <= set(codes) <= _KEYS and len(codes) == len(arrays)) or identity.size != 32:
        raise ModelFileError(f"{path}: not a file of test vectors; expected integer arrays {', '.join(sorted(_KEYS))}")
    model_id = identity.astype(np.uint8).tobytes().hex()
    return Vectors(model_id, codes["inputs"], codes.get("labels"), codes["outputs"])
