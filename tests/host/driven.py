# SPDX-License-Identifier: Apache-2.0
"""A kernel that fails when it is told to, and what an overlay of the dense model must give."""

import numpy as np
from dense_model import OUTPUT, dense, random_codes

SMALL = 40 * OUTPUT.sample_bytes  # buffers of 40 samples


class Flaky:
    """A kernel that can be told to fail."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.calls: list[int] = []

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        self.calls.append(len(codes))
        if self.error is not None:
            raise self.error
        return dense(codes)


def works(overlay, samples: int = 5) -> None:
    codes = random_codes(samples, samples)
    assert np.count_nonzero(overlay.model.predict_codes(codes) != dense(codes)) == 0
