# SPDX-License-Identifier: Apache-2.0
"""What overlays say of kernels, against the kernels: overlays also work where the HLS side is not installed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hls4attn.hls import tail
from hls4attn.hls.axis import KernelSource
from hls4attn.hls.gaincell import current_rows
from hls4attn.models.formats import Fixed
from hls4attn.models.operators import GainCellSpec
from hls4attn.models.operators.gain_curve import LINEAR_CELL
from hls4attn.overlays.boards import board
from hls4attn.overlays.design import KernelPort
from hls4attn.overlays.gaincell import GainCellDesign, table_of
from hls4attn.overlays.ports import StreamPort

SPEC = GainCellSpec(heads=2, head_dim=6, window=8, tile=4)


@pytest.mark.parametrize(
    "changes", [{}, {"k_levels": 4}, {"leak": 3.0}, {"cell": LINEAR_CELL, "current_frac": 0}], ids=str
)
def test_the_table_of_an_overlay_is_the_kernel_s(changes: dict[str, object]) -> None:
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]
    assert np.array_equal(table_of(spec), current_rows(spec))
    design = GainCellDesign.of(spec, board("pynq-z2"), layers=2)
    assert design.current_width == tail.signed_bits(current_rows(spec))


def test_the_ip_of_a_kernel_has_one_name() -> None:
    port = StreamPort((1,), Fixed(8, 0))
    source = KernelSource("vit_kernel", "top", Path("/x"), (), (), (), "xc7z020clg400-1", 10.0, "Vitis")
    assert KernelPort("vit_kernel", port, port).vlnv == source.vlnv
