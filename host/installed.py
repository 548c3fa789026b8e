# SPDX-License-Identifier: Apache-2.0
"""Operators of installed packages: whoever opens a model knows them, without asking for them.

An installed package names a function without arguments in its entry points, which registers what it has::

    [project.entry-points."hls4attn.operators"]
    squared-relu = "squared_relu:register"
"""

from __future__ import annotations

import importlib.metadata
from functools import cache

from hls4attn.models.errors import ToolError

#: Entry points of packages with operators.
GROUP = "hls4attn.operators"


@cache
def load_installed() -> None:
    """Register the operators of installed packages, once in a process.

    Raises:
        ToolError: naming the package whose operators do not load.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            entry.load()()
        except Exception as error:  # the other package may fail in any way
            owner = entry.dist.name if entry.dist else entry.value
            raise ToolError(
                f"{owner}: its operator {entry.name} does not load: {error}; repair or remove it",
            ) from error
