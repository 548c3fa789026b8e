# SPDX-License-Identifier: Apache-2.0
"""What a model is verified on: corners, inputs that it is made for where they are known, random codes for the rest."""

from __future__ import annotations

import numpy as np

from hls4attn.models.errors import InputError, ToolError
from hls4attn.models.export.execute import quantise_input, random_codes
from hls4attn.models.export.graph import Graph
from hls4attn.models.export.keras_stage import KEY_MODEL
from hls4attn.models.formats import Codes
from hls4attn.models.zoo import saved_model

#: `random_codes` puts this many corner samples first.
CORNERS = 4


def verification_codes(graph: Graph, samples: int, seed: int) -> tuple[Codes, str]:
    """Input codes for `samples` samples and a sentence that says what they are.

    Corner codes come first (all minimum, all maximum, all zero, alternating), then inputs of a zoo model (its test
    set, or text of random characters), then uniform random codes.

    Raises:
        InputError: if `samples` is not positive.
    """
    if samples < 1:
        raise InputError(f"samples must be at least 1. Received: {samples}")
    drawn = random_codes(graph.input, samples, seed)
    note = ""
    real, kind = drawn[:0], ""
    try:
        real, kind = known_inputs(graph, max(samples - CORNERS, 0), seed)
    except ToolError as error:
        note = f"; no test set: {error}"
    corners = min(CORNERS, samples)
    codes = np.concatenate([drawn[:corners], real, drawn[corners : samples - len(real)]])
    parts = [f"{corners} corner"]
    if len(real):
        parts.append(f"{len(real)} {kind}")
    rest = samples - corners - len(real)
    if rest:
        parts.append(f"{rest} random (seed {seed})")
    return codes, " + ".join(parts) + f" samples{note}"


def known_inputs(graph: Graph, samples: int, seed: int) -> tuple[Codes, str]:
    """At most so many input codes that a zoo model is made for, and what they are; none for any other model.

    Raises:
        ToolError: if what reads them is not installed.
    """
    name = graph.metadata.get(KEY_MODEL)
    if not name or not samples:
        return np.empty((0, *graph.input.shape), dtype=np.int64), ""
    saved = saved_model(name)
    return quantise_input(graph, saved.inputs(graph.input.shape, samples, seed)), saved.kind
