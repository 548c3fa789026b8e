# SPDX-License-Identifier: Apache-2.0
"""Versions of everything that takes part in a result, in words."""

from __future__ import annotations

import importlib.metadata
import platform
from functools import cache

from hls4attn.models.errors import ToolError
from hls4attn.overlays.building.origin import origin

_PACKAGES = ("numpy", "onnx", "onnxruntime", "qonnx", "hls4ml", "tensorflow", "qkeras", "pynq")


def versions() -> dict[str, str]:
    """By name: this package, Python, the packages that results depend on, the C++ compiler.

    What is not installed is left out.
    """
    return {**_fixed()}


@cache
def _fixed() -> dict[str, str]:
    return {"hls4attn": this_version(), "Python": platform.python_version(), **_packages(), **_compiler()}


def this_version() -> str:
    """This package's version, with the commit if it lies in a checkout."""
    found = origin()
    parts = [found.get("version") or "of unknown version"]
    if revision := found.get("git_revision"):
        changed = ", with changes since" if found.get("git_dirty") else ""
        parts.append(f"git commit {revision}{changed}")
    return ", ".join(map(str, parts))


def package_version(name: str) -> str | None:
    """Version of a distribution, or of its CPU-only build; None if neither is installed."""
    for candidate in (name, f"{name}-cpu"):
        try:
            return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _packages() -> dict[str, str]:
    return {name: version for name in _PACKAGES if (version := package_version(name)) is not None}


def _compiler() -> dict[str, str]:
    from hls4attn.hls.compiler import compiler_version

    try:
        return {"C++ compiler": compiler_version()}
    except ToolError:
        return {}
