# SPDX-License-Identifier: Apache-2.0
"""hls4ml's part of a conversion: lowered model in, project files out, its chatter in a log."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hls4attn.hls.config import HlsConfig
from hls4attn.models.errors import Hls4attnError, ToolError

if TYPE_CHECKING:
    from hls4attn.hls.design import Design


def write_hls4ml(design: Design, folder: Path, config: HlsConfig, digest: str) -> tuple[str, str]:
    """Convert the lowered model in a folder, check what came out, write the project there.

    Args:
        design: what the lowered model holds.
        folder: the project's folder; the lowered model is in it.
        config: choices.
        digest: gives the project its stamp.

    Returns:
        The C++ types of input and output port.

    Raises:
        UnsupportedError: from the guard.
        ToolError: if hls4ml fails.
    """
    import hls4ml

    from hls4attn.hls.guard import check_hls_model

    hls_config = {
        "Model": {"Precision": {"default": "fixed<16,6>"}, "ReuseFactor": config.reuse_factor},
        "LayerName": {n: {"ReuseFactor": r} for n, r in config.layer_reuse_factor.items()},
    }
    log = folder / "convert.log"
    try:
        with captured(log):
            model = hls4ml.converters.convert_from_onnx_model(
                str(folder / "lowered.onnx"),
                output_dir=str(folder),
                project_name=config.project_name,
                backend=config.backend,
                hls_config=hls_config,
                part=config.part,
                clock_period=config.clock_period_ns,
                io_type=config.io_type,
                write_weights_txt=False,  # tables are constants; nothing is loaded when the design runs
            )
            check_hls_model(model, design, hls_config)
            model.write()
    except Hls4attnError:
        raise
    except Exception as error:  # hls4ml raises bare exceptions of every kind
        raise ToolError(f"hls4ml failed: {type(error).__name__}: {error}") from error
    script = folder / "build_lib.sh"  # a random stamp would make two equal projects differ
    script.write_text(script.read_text().replace(model.config.get_config_value("Stamp"), digest[:8]))
    return model.get_input_variables()[0].type.name, model.get_output_variables()[0].type.name


@contextlib.contextmanager
def captured(log: Path) -> Iterator[None]:
    """Send what hls4ml prints and warns to a file."""
    text = io.StringIO()
    # Writing its record, hls4ml imports Keras if there is one; TensorFlow then talks past Python's stderr.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with (
            contextlib.redirect_stdout(text),
            contextlib.redirect_stderr(text),
            warnings.catch_warnings(record=True) as caught,
        ):
            yield
    finally:
        lines = [f"{w.category.__name__}: {w.message}" for w in caught]
        log.write_text("\n".join([text.getvalue(), *lines]) + "\n")
