# SPDX-License-Identifier: Apache-2.0
"""From a file or folder to the model with its conversion options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hls4attn.host.report.asked import Asked
from hls4attn.host.report.subject import Subject
from hls4attn.models.errors import InputError, ModelFileError, UnsupportedError

if TYPE_CHECKING:
    from hls4attn.host.flow import Flow


def open_flow(subject: Subject, asked: Asked) -> tuple[Flow, str]:
    """The model with its conversion options, and who chose the reuse factor.

    Raises:
        InputError: for choices that contradict the folder.
        ModelFileError: if the model in a build is another one than was built.
    """
    from hls4attn.hls.config import HlsConfig
    from hls4attn.host.connect import chosen_board
    from hls4attn.host.estimate import capacity, designs_of, fitting_config
    from hls4attn.host.flow import Flow
    from hls4attn.overlays.boards import board as find_board

    if subject.model is None:
        raise InputError(f"{subject.path} holds no model")
    if subject.kind == "model":
        board = chosen_board(asked.board)
        flow = Flow(subject.name, subject.model, source=subject.path.parent, board=board)
        target = find_board(board)
        choices = {"io_type": "io_stream", **asked.choices, "part": target.part}
        try:
            config, chosen = fitting_config(designs_of(flow.graph), choices, capacity(target))
        except UnsupportedError as error:
            if asked.choices:
                raise
            config, chosen = HlsConfig(part=target.part), f"; it does not stream: {error}"
        return replace(flow, config=config), chosen
    asked.refuse(f"{subject.path} says itself how it was made", ("board",))
    made = subject.made
    if subject.kind == "project":
        from hls4attn.hls.project import open_project

        project = open_project(subject.path)
        board = made.board if made else _board_of(project.config.part)
        source = Path(made.source_folder) if made else None
        return Flow(subject.name, subject.model, source=source, board=board, config=project.config, made=project), ""
    if made is None:
        raise InputError(f"{subject.path} does not say how its model was made; build again")
    source = Path(made.source_folder) if made.source_folder else None
    config = HlsConfig.from_dict(dict(made.config))
    flow = Flow(subject.name, subject.model, source=source, board=made.board, config=config)
    if flow.model_id != made.model_id:
        raise ModelFileError(f"{subject.path}: the model in it is not the one that was built; build again")
    return flow, ""


def _board_of(part: str) -> str:
    """A board with that FPGA, the usual one first."""
    from hls4attn.host.connect import chosen_board
    from hls4attn.overlays.boards import board, load_boards

    usual = chosen_board()
    names = [usual, *load_boards()]
    return next((name for name in names if board(name).part == part), usual)
