# SPDX-License-Identifier: Apache-2.0
"""The hardware description: C++ headers, the hls4ml plug-in that uses them, and its bit-exact C simulation.

Importing this package imports neither hls4ml nor onnx; its names are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hls4attn.hls.bench import OperatorSim, operator_csim
    from hls4attn.hls.config import HlsConfig
    from hls4attn.hls.csim import CSim
    from hls4attn.hls.design import Design, HwNode
    from hls4attn.hls.gaincell_sim import GainCellSim
    from hls4attn.hls.guard import check_hls_model
    from hls4attn.hls.hwfile import lower, read_design
    from hls4attn.hls.lowering import lower_graph
    from hls4attn.hls.plugin import for_hls4ml, register
    from hls4attn.hls.project import Project, convert, open_project

_HOME = {
    "CSim": "csim",
    "Design": "design",
    "GainCellSim": "gaincell_sim",
    "HlsConfig": "config",
    "HwNode": "design",
    "OperatorSim": "bench",
    "Project": "project",
    "check_hls_model": "guard",
    "convert": "project",
    "for_hls4ml": "plugin",
    "lower": "hwfile",
    "lower_graph": "lowering",
    "open_project": "project",
    "operator_csim": "bench",
    "read_design": "hwfile",
    "register": "plugin",
}

__all__ = [
    "CSim",
    "Design",
    "GainCellSim",
    "HlsConfig",
    "HwNode",
    "OperatorSim",
    "Project",
    "check_hls_model",
    "convert",
    "for_hls4ml",
    "include_dir",
    "lower",
    "lower_graph",
    "open_project",
    "operator_csim",
    "read_design",
    "register",
    "sim_dir",
]


def include_dir() -> Path:
    """Folder of the C++ headers; they compile with ``-I`` of it and of the ap_types."""
    return Path(__file__).resolve().parent / "nnet"


def sim_dir() -> Path:
    """Folder of the headers that C simulations find before the vendor's."""
    return Path(__file__).resolve().parent / "sim"


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it."""
    if name in _HOME:
        module = importlib.import_module(f"hls4attn.hls.{_HOME[name]}")
        value = getattr(module, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
