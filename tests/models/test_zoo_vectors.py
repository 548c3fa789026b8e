# SPDX-License-Identifier: Apache-2.0
"""The test vectors beside a model are what the reference gives today; damaged files are refused."""

import hashlib

import numpy as np
import pytest

from hls4attn.models.errors import ModelFileError
from hls4attn.models.export.reader import load_model
from hls4attn.models.files import write_arrays
from hls4attn.models.zoo import zoo_model
from hls4attn.models.zoo.vectors import Vectors, make_vectors, read_vectors, write_vectors

ZOO = zoo_model("digits-vit")
MODEL = ZOO.folder / "consmax.onnx"
KNOWN = Vectors("ab" * 32, np.arange(-4, 8).reshape(3, 4), np.array([0, 1, 2]), np.eye(3, dtype=np.int64) * 300)


def test_the_committed_vectors_are_those_of_the_committed_model():
    data = ZOO.load_data()
    again, committed = make_vectors(MODEL, data.x_test, data.y_test), read_vectors(MODEL)
    assert committed.model_id == again.model_id
    assert committed.model_id == hashlib.sha256(load_model(MODEL).SerializeToString(deterministic=True)).hexdigest()
    for name in ("inputs", "labels", "outputs"):
        assert np.array_equal(getattr(committed, name), getattr(again, name)), name
    assert committed.accuracy(committed.outputs) >= 0.95


@pytest.mark.parametrize("labels", [KNOWN.labels, None])
def test_written_and_read_again(tmp_path, labels):
    known = Vectors(KNOWN.model_id, KNOWN.inputs, labels, KNOWN.outputs)
    path = write_vectors(known, tmp_path / "m.onnx")
    assert path.name == "m_vectors.npz"
    found = read_vectors(tmp_path / "m.onnx")
    assert (found.model_id, len(found)) == ("ab" * 32, 3)
    assert np.array_equal(found.inputs, KNOWN.inputs)
    assert np.array_equal(found.outputs, KNOWN.outputs)
    assert (found.labels is None) == (labels is None)
    assert found.accuracy(found.outputs) == (None if labels is None else 1.0)


def test_what_differs_is_counted_a_sample():
    answers = KNOWN.outputs.copy()
    answers[1, :2] += 500
    assert KNOWN.mismatches(KNOWN.outputs) == 0
    assert KNOWN.mismatches(answers) == 1
    assert KNOWN.accuracy(answers) == pytest.approx(1.0)
    answers[1, 0] = 9999
    assert KNOWN.accuracy(answers) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": np.zeros(31, dtype=np.uint8)},
        {"inputs": np.zeros((2, 4), dtype=np.int64)},
        {"inputs": np.zeros((3, 4))},
        {"labels": np.int64(3)},
        {"further": np.zeros(3, dtype=np.int64)},
        {"outputs": None},
    ],
)
def test_other_files_are_refused(tmp_path, change):
    arrays = {"model_id": np.zeros(32, dtype=np.uint8), "inputs": KNOWN.inputs, "outputs": KNOWN.outputs}
    arrays = {name: a for name, a in (arrays | change).items() if a is not None}
    write_arrays(tmp_path / "m_vectors.npz", arrays)
    with pytest.raises(ModelFileError, match="not a file of test vectors"):
        read_vectors(tmp_path / "m.onnx")


def test_missing_and_truncated_files_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="No such file"):
        read_vectors(tmp_path / "m.onnx")
    path = write_vectors(KNOWN, tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelFileError, match="not a readable"):
        read_vectors(tmp_path / "m.onnx")
