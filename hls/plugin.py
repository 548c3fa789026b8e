# SPDX-License-Identifier: Apache-2.0
"""Making hls4ml know the hardware nodes, without a fork and without patching any of its code."""

from __future__ import annotations

import importlib.metadata

from hls4attn.models.errors import ToolError

#: Versions of hls4ml whose internals the plug-in was written for and tested with.
SUPPORTED = ("1.3.0",)
#: Backends that get the templates and the headers.
BACKENDS = ("Vitis", "Vivado")


def hls4ml_version() -> str:
    """Version of the installed hls4ml, found without importing it.

    Raises:
        ToolError: if it is missing, or a version this plug-in does not know.
    """
    try:
        version = importlib.metadata.version("hls4ml")
    except importlib.metadata.PackageNotFoundError as error:
        raise ToolError("hls4ml is not installed: pip install 'hls4attn[convert]'") from error
    if version not in SUPPORTED:
        raise ToolError(
            f"hls4ml {version} is not supported: its plug-in interface differs between versions. "
            f"Install hls4ml=={SUPPORTED[-1]}"
        )
    return version


def register() -> None:
    """Register handlers, layers, templates, passes and headers with hls4ml; calling it again does nothing.

    Afterwards ``hls4ml.converters.convert_from_onnx_model(hls4attn.hls.lower(model), ...)`` works.

    Raises:
        ToolError: if hls4ml is missing, of another version, or an operator name is taken by something else.
    """
    hls4ml_version()
    try:
        from hls4attn.hls import handlers, layers, templates  # they import hls4ml
    except ImportError as error:
        raise ToolError(f"hls4ml does not import: {error}; pip install 'hls4attn[convert]'") from error
    layers.register_layers()
    handlers.register_handlers()
    templates.register_templates(BACKENDS)
