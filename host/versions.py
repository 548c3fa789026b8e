# SPDX-License-Identifier: Apache-2.0
"""Versions of everything that takes part in a result, in words."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from functools import cache
from typing import Any

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
    return {"hls4attn": _this(), "Python": platform.python_version(), **_packages(), **_compiler()}


def _this() -> str:
    return described(origin())


def described(found: Mapping[str, Any]) -> str:
    """This package in words, from what `origin` says of it."""
    parts = [found.get("version") or "of unknown version"]
    if revision := found.get("git_revision"):
        changed = ", with changes since" if found.get("git_dirty") else ""
        parts.append(f"git commit {revision}{changed}")
    return ", ".join(map(str, parts))


def _packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        for candidate in (name, f"{name}-cpu"):
            try:
                found[name] = importlib.metadata.version(candidate)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def _compiler() -> dict[str, str]:
    from hls4attn.hls.compiler import compiler_version

    try:
        return {"C++ compiler": compiler_version()}
    except ToolError:
        return {}
