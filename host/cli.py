# SPDX-License-Identifier: Apache-2.0
"""The `hls4attn` command: one verb a step, one readable line for every error."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from hls4attn.host.options import (
    BackendName,
    BoardName,
    ChartFile,
    Clock,
    ConfigFile,
    IoType,
    JsonFile,
    Lanes,
    ModelFile,
    ParallelHeads,
    Reuse,
)
from hls4attn.models.errors import Hls4attnError, InputError
from hls4attn.overlays.boards import use_boards

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

app = typer.Typer(
    name="hls4attn",
    help="Quantised attention from QKeras to a PYNQ board, bit-exact at every step.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(emoji=False, width=None if sys.stdout.isatty() else 160)  # tables in files are not squeezed
err = Console(stderr=True, emoji=False)


_INTERRUPTED = 130
#: What typer raises for wrong arguments; which click it belongs to depends on typer's version.
_USAGE: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


class _Debug:
    """Whether errors keep their traceback."""

    on = False


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    boards: Annotated[
        Path | None,
        typer.Option("--boards", help="TOML file with further boards; else HLS4ATTN_BOARDS.", show_default=False),
    ] = None,
) -> None:
    _Debug.on = debug
    use_boards(boards)


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="Zoo model: digits-vit or char-gpt.")],
    score: Annotated[
        str | None,
        typer.Option(
            help="digits-vit: score function, consmax or softmax [consmax]; sole: float, then quantised.",
            show_default=False,
        ),
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(
            help="char-gpt: softmax, integer-softmax, consmax, gaincell-linear, gaincell, gaincell-direct, "
            "several with commas, or all [gaincell].",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(
            help="char-gpt: UTF-8 text [tiny Shakespeare: from $HLS4ATTN_DATA, else downloaded].", show_default=False
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="char-gpt: of the first phase, the two others have half.", show_default=False)
    ] = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated seeds; the first one's model is saved.")] = "0,1,2",
    folder: Annotated[Path, typer.Option("--out", help="Folder for weights, ONNX file and results.")] = Path(
        "build/train"
    ),
    epochs: Annotated[
        int | None, typer.Option(help="digits-vit: instead of the recipe's number.", show_default=False)
    ] = None,
    json: JsonFile = None,
) -> None:
    """Train a zoo model, quantisation-aware, once a seed; print accuracy or loss as mean and spread."""
    from hls4attn.host import char_gpt, sole, verbs

    if model == char_gpt.NAME:
        _refuse_options(model, "train", score=score, epochs=epochs)
        char_gpt.train(out, err, attention or "gaincell", text, steps, _seeds(seeds), folder, json)
        return
    _refuse_options(model, "train", attention=attention, text=text, steps=steps)
    if score == "sole":
        sole.train(out, err, model, _seeds(seeds), folder, epochs, json)
        return
    verbs.train(out, err, model, score or "consmax", _seeds(seeds), folder, epochs, json)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="A .keras file, or the .npz weights of a zoo model or character GPT.")],
    target: Annotated[Path, typer.Argument(help="ONNX file to write.")],
    model: Annotated[
        str | None,
        typer.Option(help="For .npz: the zoo model [digits-vit; a GPT's file says what it is].", show_default=False),
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="For .npz of digits-vit: its score function [consmax].", show_default=False)
    ] = None,
) -> None:
    """Keras to QONNX; refuses by name what it cannot represent exactly."""
    from hls4attn.host import verbs

    verbs.export(out, source, target, model, score)


@app.command()
def convert(
    model: ModelFile,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Project folder [build/<model>].", show_default=False)
    ] = None,
    board: BoardName = None,
    backend: BackendName = None,
    config: ConfigFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
) -> None:
    """ONNX to an HLS project, its C simulation and the overlay of the emulated board."""
    from hls4attn.host import verbs

    choices = _choices(io, reuse, lanes, parallel_heads, backend)
    verbs.convert(out, err, model, folder or Path("build") / model.stem, board, config, choices)


@app.command()
def build(
    model: Annotated[
        Path | None, typer.Argument(help="ONNX model file [the zoo's ConSmax digits].", show_default=False)
    ] = None,
    board: BoardName = None,
    overlay: Annotated[str, typer.Option(help="digits (or any MODEL), operators, gaincell or all.")] = "digits",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Build folder [build/<overlay>-<board>]; of all: what holds one each.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write and check everything, run no tool of the vendor.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(help="Runs of Vivado at a time [half of the processors].", show_default=False)
    ] = None,
    backend: BackendName = None,
    config: ConfigFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
    clock: Clock = None,
    json: JsonFile = None,
) -> None:
    """An overlay's bitstream with Vivado, with its reports and all that a board needs; it goes on after a stop."""
    from hls4attn.host.build import build as build_overlays

    choices = _choices(io, reuse, lanes, parallel_heads, backend, clock)
    build_overlays(
        out, err, model, overlay, board, folder, dry_run=dry_run, jobs=jobs, json=json, config=config, choices=choices
    )


@app.command()
def verify(
    model: Annotated[Path | None, typer.Argument(help="ONNX model file.", show_default=False)] = None,
    operator: Annotated[
        str | None,
        typer.Option(
            help="One operator alone: consmax, softmax, e2softmax, ailayernorm, layernorm or gaincell.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples of a model, rows of an operator.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the random codes.")] = 0,
    stages: Annotated[
        str | None, typer.Option(help="Comma-separated: keras,onnx,qonnx,onnxruntime,csim,board.", show_default=False)
    ] = None,
    board: BoardName = None,
    json: JsonFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
) -> None:
    """Every stage against the integer reference: 0/N mismatches, or where they part."""
    from hls4attn.host import verbs

    if (model is None) == (operator is None):
        raise InputError("Give either a model file or --operator NAME")
    names = None if stages is None else [s.strip() for s in stages.split(",") if s.strip()]
    choices = _choices(io, reuse, lanes, parallel_heads)
    verbs.verify(out, err, model, operator, samples, seed, names, board, json, choices)


@app.command()
def run(
    model: Annotated[Path, typer.Argument(help="ONNX model file, or char-gpt.", show_default=False)],
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            help="Board name; without it HLS4ATTN_EMULATED_BOARD, else pynq-z2. char-gpt: also emulated or none.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--input", help=".npy batch of real inputs [zoo model: its test set].", show_default=False),
    ] = None,
    result: Annotated[
        Path | None, typer.Option("--output", help=".npy file for the real outputs.", show_default=False)
    ] = None,
    json: JsonFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
    prompt: Annotated[
        str | None, typer.Option(help="char-gpt: what the text begins with [ROMEO:].", show_default=False)
    ] = None,
    tokens: Annotated[int | None, typer.Option(help="char-gpt: characters to write [200].", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="char-gpt: of the draw [0].", show_default=False)] = None,
    weights: Annotated[
        Path | None, typer.Option(help="char-gpt: a trained .npz [the package's].", show_default=False)
    ] = None,
) -> None:
    """Run a model on the board, or on the emulated one, and say which."""
    from hls4attn.host import char_gpt, verbs

    if str(model) == char_gpt.NAME:
        structure = {"io": io, "reuse": reuse, "lanes": lanes, "parallel-heads": parallel_heads}
        _refuse_options(str(model), "run", input=data, output=result, **structure)
        text, count = (char_gpt.PROMPT if prompt is None else prompt), (200 if tokens is None else tokens)
        char_gpt.run(out, board, text, count, seed or 0, weights, json)
        return
    _refuse_options(model.name, "run", prompt=prompt, tokens=tokens, seed=seed, weights=weights)
    verbs.run(out, err, model, board, data, result, json, _choices(io, reuse, lanes, parallel_heads))


@app.command()
def quantise(
    model: Annotated[Path, typer.Argument(help="Trained float model (.keras) with softmax attention and LayerNorm.")],
    target: Annotated[Path, typer.Argument(help="ONNX file to write; the integer Keras model goes beside it.")],
    calibration: Annotated[
        str, typer.Option(help=".npy of representative inputs, or a zoo model's name.", show_default=False)
    ],
    score: Annotated[str, typer.Option(help="softmax, e2softmax, e2softmax-online or e2softmax-shift.")] = "e2softmax",
    norm: Annotated[str, typer.Option(help="layernorm (exact integers) or ailayernorm.")] = "ailayernorm",
) -> None:
    """Post-training quantisation: SOLE's operators in a trained float model, without retraining."""
    from hls4attn.host import sole

    sole.quantise(out, err, model, target, calibration, score, norm)


@app.command()
def report(
    what: Annotated[str, typer.Argument(help="claims: the papers' claims and what is measured here.")],
    section: Annotated[str | None, typer.Option(help="consmax, sole or gaincell.", show_default=False)] = None,
    json: JsonFile = None,
) -> None:
    """Tables that put figures beside their sources."""
    from hls4attn.host.claims import print_claims
    from hls4attn.host.paths import check_output

    if what != "claims":
        raise InputError(f"Unknown report {what!r}; known: claims")
    check_output(json)
    print_claims(out, section, json)


@app.command()
def estimate(
    model: ModelFile,
    board: BoardName = None,
    backend: BackendName = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
    json: JsonFile = None,
    chart: ChartFile = None,
) -> None:
    """Cycles, resources and boards of a model's hardware, before any synthesis."""
    from hls4attn.host.estimate import print_estimate

    choices = _choices(io or "io_stream", reuse, lanes, parallel_heads, backend)
    print_estimate(out, model, board, choices, json, chart)


class _BenchGroup(TyperGroup):
    """`bench --board B [MODEL]` and `bench MODEL` mean `bench board ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the word that was left out."""
        named = bool(args) and args[0] in self.commands
        wants = any(a == "--board" or a.startswith("--board=") for a in args) or (args and not args[0].startswith("-"))
        return list(super().parse_args(ctx, ["board", *args] if wants and not named else list(args)))


bench = typer.Typer(invoke_without_command=True, cls=_BenchGroup)
app.add_typer(bench, name="bench")


@bench.callback()
def throughput(context: typer.Context, json: JsonFile = None) -> None:
    """Throughput of references and C simulation on this machine; with --board or MODEL, of an overlay on a board."""
    if context.invoked_subcommand is None:
        from hls4attn.host.bench import print_throughput

        print_throughput(out, json)
    elif json is not None:
        raise InputError(f"Give --json after the word {context.invoked_subcommand}")


@bench.command("board")
def bench_board(
    model: Annotated[str, typer.Argument(help="Overlay by name, or the ONNX file it was built from.")] = "digits",
    board: Annotated[
        str | None,
        typer.Option("--board", help="Board name, emulated or emulated:NAME [the board here].", show_default=False),
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples of a batch.")] = 64,
    seconds: Annotated[float, typer.Option(help="How long to repeat each timing on a real board.")] = 1.0,
    rail: Annotated[
        str | None, typer.Option(help="Power rail whose energy counts, where there are several.", show_default=False)
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--overlays", help="Folder of built overlays, searched first.", show_default=False)
    ] = None,
    json: JsonFile = None,
    io: IoType = None,
    reuse: Reuse = None,
    lanes: Lanes = None,
    parallel_heads: ParallelHeads = None,
) -> None:
    """An overlay on a board: quality and cycles; on a real one time, clock and energy too."""
    from hls4attn.host.bench_report import bench_board as measure_board

    choices = _choices(io, reuse, lanes, parallel_heads)
    measure_board(out, model, board, batch=batch, seconds=seconds, rail=rail, folder=folder, json=json, **choices)


@bench.command()
def attention(
    lengths: Annotated[str, typer.Option(help="Comma-separated lengths of the sequence.")] = "16,64,256,1024",
    score: Annotated[str, typer.Option(help="consmax, softmax, e2softmax, e2softmax-online or e2context.")] = "consmax",
    head_dim: Annotated[int, typer.Option(help="Width of a head.")] = 64,
    heads: Annotated[int, typer.Option(help="Number of heads, one after the other.")] = 1,
    lanes: Annotated[int, typer.Option(help="Keys at a time.")] = 1,
    json: JsonFile = None,
    chart: ChartFile = None,
) -> None:
    """Streaming attention as sequences grow: cycles, buffers, compile time and speed of its C simulation."""
    from hls4attn.host.attention_bench import parse_lengths, print_growth

    print_growth(out, err, parse_lengths(lengths), score, head_dim, heads, lanes, json, chart)


@bench.command("gpu-attention")
def gpu_attention(json: JsonFile = None) -> None:
    """Single-token cached attention on this machine's GPU, the baseline of the gain-cell figures."""
    from hls4attn.host.gpu_attention import print_gpu_attention
    from hls4attn.host.paths import check_output

    check_output(json)
    print_gpu_attention(out, json)


@app.command()
def doctor(json: JsonFile = None) -> None:
    """What is installed, which tools were found, what each missing one would enable."""
    from hls4attn.host.doctor import examine, print_report

    print_report(out, examine(), json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for report and picture.")] = Path("build/demo"),
    samples: Annotated[int, typer.Option(help="Samples on each rung.")] = 2000,
) -> None:
    """The whole road with the trained ConSmax transformer: convert, verify, run, report."""
    from hls4attn.host.demo import run_demo

    run_demo(out, err, folder, samples)


def _choices(
    io: str | None,
    reuse: int | None = None,
    lanes: int | None = None,
    parallel_heads: int | None = None,
    backend: str | None = None,
    clock_mhz: float | None = None,
) -> dict[str, Any]:
    """Conversion options that were given, by the names that a configuration file has for them."""
    if clock_mhz is not None and not 1 <= clock_mhz <= 1000:
        raise InputError(f"--clock must be from 1 to 1000 MHz. Received: {clock_mhz:g}")
    given = {
        "backend": backend,
        "io_type": io,
        "reuse_factor": reuse,
        "lanes": lanes,
        "parallel_heads": parallel_heads,
        "clock_period_ns": None if clock_mhz is None else 1000 / clock_mhz,
    }
    return {name: value for name, value in given.items() if value is not None}


def _refuse_options(model: str, verb: str, **options: Any) -> None:
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{model} takes no {' and no '.join(given)}; see hls4attn {verb} --help")


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(s) for s in text.split(",")]
    except ValueError as error:
        raise InputError(f"Seeds are comma-separated integers such as 0,1,2. Received: {text!r}") from error
    if not all(0 <= s < 1 << 32 for s in seeds):
        raise InputError(f"Seeds are from 0 to {(1 << 32) - 1}. Received: {text!r}")
    return seeds


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; exit with the error's code."""
    try:
        code = app(args=arguments, standalone_mode=False)
    except Hls4attnError as error:
        if _Debug.on:
            raise
        _fail(str(error), error.exit_code)
    except MemoryError as error:
        if _Debug.on:
            raise
        _fail(f"out of memory ({error or 'no more to be had'}); take fewer samples or a smaller model", 2)
    except _USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
            sys.exit(error.exit_code)
        _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # typer may have made it of an interruption
        err.print("interrupted")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    """One line on the error stream, and the exit."""
    err.print(Text.assemble(("error:", "bold red"), f" {' '.join(message.split())}"), soft_wrap=True)
    sys.exit(code)
