# SPDX-License-Identifier: Apache-2.0
"""The `hls4attn` command: one verb a step, one readable line for every error."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn

import typer
from rich.text import Text

from hls4attn.host.cli.bench import group as bench_group
from hls4attn.host.cli.checks import demo, doctor, report, run, verify
from hls4attn.host.cli.console import Debug, app, err
from hls4attn.host.cli.hardware import build, convert, estimate
from hls4attn.host.cli.models import export, import_onnx, quantise, train
from hls4attn.host.cli.sweep import sweep
from hls4attn.host.installed import load_installed
from hls4attn.models.errors import Hls4attnError

__all__ = ["main"]

_VERBS: tuple[Callable[..., None], ...] = (
    train,
    export,
    convert,
    build,
    verify,
    run,
    quantise,
    report,
    estimate,
    sweep,
)
for _verb in _VERBS:  # in the order of `--help`
    app.command()(_verb)
app.command("import")(import_onnx)
app.add_typer(bench_group, name="bench")
app.command()(doctor)
app.command()(demo)

_INTERRUPTED = 130
_OF_ALL_VERBS = ("--debug", "--boards", "--version")
#: What typer raises for wrong arguments; which click it belongs to depends on typer's version.
_USAGE: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; exit with the error's code."""
    try:
        load_installed()
        code = app(args=arguments, standalone_mode=False)
    except Hls4attnError as error:
        if Debug.on:
            raise
        _fail(str(error), error.exit_code)
    except MemoryError as error:
        if Debug.on:
            raise
        _fail(f"out of memory ({error or 'no more to be had'}); take fewer samples or a smaller model", 2)
    except OSError as error:  # a full disk, or a place that may not be read, where nobody said so in better words
        if Debug.on:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", 2)
    except _USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
            sys.exit(error.exit_code)
        _fail(error.format_message() + _misplaced(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # typer may have made it of an interruption
        err.print("interrupted")
    sys.exit(code if isinstance(code, int) else 0)


def _misplaced(error: Any) -> str:
    """Where an option belongs that a verb does not know, if it is one of the command itself."""
    name = getattr(error, "option_name", None)
    return f"; it stands before the verb: hls4attn {name} ..." if name in _OF_ALL_VERBS else ""


def _fail(message: str, code: int) -> NoReturn:
    """One line on the error stream, and the exit."""
    err.print(Text.assemble(("error:", "bold red"), f" {' '.join(message.split())}"), soft_wrap=True)
    sys.exit(code)
