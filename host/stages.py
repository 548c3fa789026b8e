# SPDX-License-Identifier: Apache-2.0
"""The stages of the ladder that compute with the converted model: C simulation and board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hls4attn.models.export.graph import Graph
from hls4attn.models.formats import Codes

if TYPE_CHECKING:
    from hls4attn.hls.csim import CSim


class CsimStage:
    """The C simulation of the converted model."""

    name = "csim"

    def __init__(self, csim: CSim) -> None:
        self._csim = csim

    def run(self, codes: Codes) -> Codes:
        """Output codes."""
        return self._csim.run(codes)

    def trace(self, codes: Codes) -> Mapping[str, Codes]:
        """Codes of every kernel's result."""
        return self._csim.trace(codes)


class BoardStage:
    """The model on a board, through its driver."""

    name = "board"

    def __init__(self, graph: Graph, driver: Any, computed: str = "") -> None:
        self._graph = graph
        self._driver = driver
        self.device_tag = f"{driver.device_tag}{computed}"

    def run(self, codes: Codes) -> Codes:
        """Output codes."""
        return np.asarray(self._driver.predict_codes(codes), dtype=np.int64)

    def trace(self, codes: Codes) -> Mapping[str, Codes]:
        """The output: a board shows nothing else."""
        return {self._graph.output.name: self.run(codes)}
