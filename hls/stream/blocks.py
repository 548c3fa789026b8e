# SPDX-License-Identifier: Apache-2.0
"""Order of a streaming dense kernel's weights: one word of its memory is what one cycle multiplies."""

from __future__ import annotations

import numpy as np

from hls4attn.models.errors import UnsupportedError
from hls4attn.models.formats import Codes


def block_order(weights: Codes, n_in: int, n_out: int, in_block: int, out_block: int) -> Codes:
    """Weights of ``y = x @ w`` block by block, as hls/nnet/attn_dense_stream.h reads them.

    Output blocks outside, input blocks inside; within a block as in `weights`: row by row.  Blocks that do not divide
    are filled up with zeros.

    Args:
        weights: codes, row by row: ``n_in * n_out`` of them.
        n_in: inputs.
        n_out: outputs.
        in_block: inputs of a block.
        out_block: outputs of a block.

    Returns:
        flat codes: ``ceil(n_out / out_block) * ceil(n_in / in_block) * in_block * out_block`` of them.

    Raises:
        UnsupportedError: for a block that is larger than the matrix, or empty.
    """
    if not (1 <= in_block <= n_in and 1 <= out_block <= n_out):
        raise UnsupportedError(
            f"A dense kernel of {n_in} x {n_out} weights takes blocks of 1 x 1 up to all of them. "
            f"Received: in_block={in_block}, out_block={out_block}"
        )
    padded = np.pad(weights.reshape(n_in, n_out), ((0, -n_in % in_block), (0, -n_out % out_block)))
    blocks = padded.reshape(padded.shape[0] // in_block, in_block, -1, out_block)
    return np.ascontiguousarray(blocks.transpose(2, 0, 1, 3)).ravel()
