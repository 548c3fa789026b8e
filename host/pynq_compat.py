# SPDX-License-Identifier: Apache-2.0
"""The import of PYNQ, with the reasons for which it fails in words.

PYNQ is an optional package, so only modules that cannot work without it import this one.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from hls4attn.models.errors import ToolError

_choosing = threading.RLock()

REMEDY = 'Install it with: pip install "hls4attn[board]"'


def import_pynq() -> ModuleType:
    """The `pynq` package.

    Raises:
        ToolError: if it is not installed, does not import, or meets a numpy it cannot work with.
    """
    import_numpy = importlib.import_module("numpy")
    if int(import_numpy.__version__.split(".")[0]) >= 2:
        # ndarray.device is read-only since 2.0, and every PynqBuffer assigns it
        raise ToolError(
            f"PYNQ cannot allocate buffers with numpy {import_numpy.__version__}: it needs numpy below 2. "
            'Use an environment of its own: pip install "hls4attn[board]" "numpy<2"'
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # "does not support the CPU architecture"
        try:
            pynq = importlib.import_module("pynq")
            importlib.import_module("pynq.lib")  # every Overlay imports it; better to fail here, with a remedy
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] == "pynq":
                raise ToolError(f"PYNQ is not installed. {REMEDY}") from error
            if (error.name or "").startswith("pycparser"):
                raise ToolError('PYNQ needs pycparser below 3. Install it with: pip install "pycparser<3"') from error
            raise ToolError(f"PYNQ does not import: {error}. {REMEDY}") from error
        except Exception as error:  # on a board it opens drivers, which raise what they like
            raise ToolError(f"PYNQ does not import: {type(error).__name__}: {error}. {REMEDY}") from error
    return pynq


@contextmanager
def active(device: Any) -> Iterator[None]:
    """Make a device PYNQ's active one for a while, without probing for others; threads take turns."""
    pynq = import_pynq()
    missing = object()
    with _choosing:
        before = vars(pynq.Device).get("_active_device", missing)
        pynq.Device.active_device = device
        try:
            yield
        finally:
            if before is missing:
                del pynq.Device._active_device
            else:
                pynq.Device.active_device = before
