# SPDX-License-Identifier: Apache-2.0
"""Making hls4ml know the hardware nodes, without a fork and without patching any of its code."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from hls4attn.models.errors import ToolError

if TYPE_CHECKING:
    import onnx

    from hls4attn.hls.config import HlsConfig

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

    Afterwards ``hls4ml.converters.convert_from_onnx_model(hls4attn.hls.lower(model), ...)`` works; `for_hls4ml`
    does both.

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


def for_hls4ml(
    source: Path | str | onnx.ModelProto, io_type: str | None = None, config: HlsConfig | None = None
) -> onnx.ModelProto:
    """The model that hls4ml's own converter takes instead of an exported one; hls4ml knows its nodes afterwards.

    Check what hls4ml made of it with ``check_hls_model(hls_model, model, hls_config)``.

    Args:
        source: an exported ONNX file or model.
        io_type: "io_parallel" or "io_stream", as hls4ml will be told; what `config` says if not given.
        config: choices that decide how an io_stream model is built.

    Raises:
        ModelFileError: if the file is no valid ONNX.
        UnsupportedError: naming the node that has no exact hardware, or no streaming form.
        ToolError: if hls4ml is missing, of another version, or an operator name is taken by something else.
    """
    from hls4attn.hls.hwfile import lower

    register()
    return lower(source, io_type, config)
