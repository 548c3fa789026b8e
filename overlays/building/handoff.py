# SPDX-License-Identifier: Apache-2.0
"""The handoff that Vivado writes when the block design is drawn: hours before there is a bitstream."""

from __future__ import annotations

from pathlib import Path

from hls4attn.models.errors import ModelFileError
from hls4attn.overlays import hwh, hwh_check, strict
from hls4attn.overlays.building.diagnosis import StageError
from hls4attn.overlays.design import OverlayDesign
from hls4attn.overlays.scripts import BLOCK_DESIGN, PROJECT

STAGE = "design"
#: Until 2020.1, and since.
PLACES = tuple(
    f"{PROJECT}.{kind}/sources_1/bd/{BLOCK_DESIGN}/hw_handoff/{BLOCK_DESIGN}.hwh" for kind in ("srcs", "gen")
)


def check_drawn(design: OverlayDesign, folder: Path) -> Path | None:
    """Compare what was drawn with the design, where the tool has said already what that is.

    Args:
        design: of the overlay.
        folder: of the build, after its stage `design`.

    Returns:
        The handoff; None if there is none yet.

    Raises:
        StageError: for the first difference.
    """
    for path in (folder / place for place in PLACES):
        if not path.is_file():
            continue
        try:
            hwh_check.check_hwh(hwh.parse_hwh(strict.read_bytes(path, hwh.MAX_BYTES), str(path)), design, str(path))
        except ModelFileError as error:
            remedy = "the drivers would not find what they expect; this is a defect of the scripts, not of your model"
            raise StageError(STAGE, "drawn otherwise than designed", str(error), remedy, path) from error
        return path
    return None
