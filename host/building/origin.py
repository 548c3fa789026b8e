# SPDX-License-Identifier: Apache-2.0
"""What a build leaves for a report: its model, and how it came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hls4attn.host.building.plans import Plan
from hls4attn.host.report.made import MADE, MODEL
from hls4attn.models.files import atomic_write


def write_origin(plan: Plan, folder: Path) -> None:
    """Leave model and record in the build folder; of an overlay without one model, nothing.

    Raises:
        ModelFileError: if they cannot be written.
    """
    for name in (MODEL, MADE) if plan.model is None else ():
        (folder / name).unlink(missing_ok=True)  # of an earlier build
    if plan.model is not None:
        content, made = plan.model
        atomic_write(folder / MODEL, content)
        made.write(folder)


def origin_files(plan: Plan) -> Mapping[str, bytes]:
    """The same for the archive, which leaves this machine: without the folder of the model file."""
    if plan.model is None:
        return {}
    content, made = plan.model
    record = json.dumps(replace(made, source_folder="").to_json(), indent=2) + "\n"
    return {MODEL: content, MADE: record.encode()}
