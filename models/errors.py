# SPDX-License-Identifier: Apache-2.0
"""Typed errors: each says what was received, where, and what to do about it.

Every error a user can cause derives from `Hls4attnError`; the command line prints its message as one
line and exits with `exit_code`.  Anything else that escapes is a defect of this package.
"""

from __future__ import annotations


class Hls4attnError(Exception):
    """Base of all errors a user can cause."""

    exit_code = 2


class FormatError(Hls4attnError, ValueError):
    """A number format, code or table is illegal, or does not fit its format."""


class SpecError(Hls4attnError, ValueError):
    """An operator spec holds parameters that no hardware could represent."""


class UnsupportedError(Hls4attnError, ValueError):
    """A layer, quantiser, node or option that a stage cannot represent exactly."""


class ModelFileError(Hls4attnError, ValueError):
    """A model file that is missing, truncated, foreign or inconsistent."""


class InputError(Hls4attnError, ValueError):
    """Input data of the wrong shape, dtype or range."""


class ToolError(Hls4attnError, RuntimeError):
    """An external tool or optional package that is missing or failed."""

    exit_code = 3


class BuildError(ToolError):
    """A tool that ran and failed to build an overlay: the stage, the cause, and the log that says more."""


class NotBuiltError(Hls4attnError):
    """Everything was written and checked, but the tools that build a bitstream are not there."""

    exit_code = 5


class DeviceError(Hls4attnError, RuntimeError):
    """A board, emulated or real, that refused or failed."""

    exit_code = 4


class MismatchError(Hls4attnError):
    """Two stages of the ladder gave different codes."""

    exit_code = 1


class SimulationError(MismatchError, RuntimeError):
    """A simulated design that got stuck, read an empty stream, or left words behind."""
