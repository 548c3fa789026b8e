# SPDX-License-Identifier: Apache-2.0
"""Handwritten digits that ship with scikit-learn: 1,797 images of 8x8 pixels, split once and for all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hls4attn.models.errors import ToolError

TEST_FRACTION = 0.2
SPLIT_SEED = 0


class Digits(NamedTuple):
    """Images in [0, 1], shape ``(n, 8, 8)``, a multiple of 1/16 each, and their labels."""

    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def load_digits() -> Digits:
    """The fixed, stratified split: 1,437 images to train on, 360 to test.

    Raises:
        ToolError: if scikit-learn is not installed.
    """
    try:
        from sklearn import datasets, model_selection
    except ImportError as error:
        raise ToolError("scikit-learn, which brings the digits, is not installed: pip install scikit-learn") from error

    raw = datasets.load_digits()
    images = (raw.images / 16.0).astype(np.float32)
    labels = raw.target.astype(np.int64)
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        images, labels, test_size=TEST_FRACTION, random_state=SPLIT_SEED, stratify=labels
    )
    return Digits(x_train, y_train, x_test, y_test)
