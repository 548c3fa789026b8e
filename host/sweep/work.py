# SPDX-License-Identifier: Apache-2.0
"""What is run for a point: a function by name, its result as plain values, its errors as one line."""

from __future__ import annotations

import faulthandler
import importlib
import json
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from hls4attn.models.errors import Hls4attnError, InputError

#: Of an error message.
ERROR_LENGTH = 500


def find_work(work: str) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """A function by its name.

    Args:
        work: ``module:function``.

    Raises:
        InputError: if there is no such function.
    """
    module, _, name = work.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"{work!r} names no function, as MODULE:FUNCTION does: {error}") from error
    if not callable(found):
        raise InputError(f"{work!r} is no function. Received: {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def preload(work: str) -> None:
    """Import what the function will need: its module, which may have more to do in a function ``prepare``."""
    module = importlib.import_module(work.partition(":")[0])
    getattr(module, "prepare", lambda: None)()


def run_work(work: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Call the function; the traceback of an error goes to the error stream, its first line into the answer.

    Returns:
        ``status`` ("ok" or "failed"), ``error``, ``metrics``, and its own ``seconds``.
    """
    faulthandler.enable()
    start = time.monotonic()
    answer: dict[str, Any] = {"status": "ok", "error": "", "metrics": {}}
    try:
        answer["metrics"] = json.loads(json.dumps(find_work(work)(settings), default=_plain))
    except Exception as error:
        traceback.print_exc()
        answer |= {"status": "failed", "error": one_line(error), "metrics": _metrics_of(error)}
    return answer | {"seconds": time.monotonic() - start}


def one_line(error: BaseException) -> str:
    """An error in one line: the message of one of ours, of any other with its type."""
    words = " ".join(str(error).split())
    line = words if words and isinstance(error, Hls4attnError) else f"{type(error).__name__}: {words}"
    return line if len(line) <= ERROR_LENGTH else f"{line[:ERROR_LENGTH]} ..."


def _metrics_of(error: Exception) -> dict[str, Any]:
    """What was known before an error, if it says so."""
    try:
        return dict(json.loads(json.dumps(getattr(error, "metrics", {}), default=_plain)))
    except (TypeError, ValueError):
        return {}


def _plain(value: Any) -> Any:
    """Numbers of NumPy as Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no plain value")
