# SPDX-License-Identifier: Apache-2.0
"""The committed models from end to end: mismatches of every stage, cycles and resources.

``python -m hls4attn.host.bench.record`` measures all of them anew (some minutes) and writes `record.json` beside this
file; `make tables` puts it into the README and the pages.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from hls4attn.models.errors import ModelFileError
from hls4attn.models.files import write_json

#: The committed record.
COMMITTED = Path(__file__).with_name("record.json")
SEED = 0
_STREAM = {"io_type": "io_stream"}
_ZOO = Path(__file__).parents[2] / "models" / "zoo"


@dataclass(frozen=True)
class Subject:
    """A row of the table: a committed model and how much of it is compared."""

    name: str
    title: str
    file: str
    samples: int
    board: str = "pynq-z2"
    rtl: bool = False  # kernels in Verilog instead of C++

    @property
    def path(self) -> Path:
        """Its ONNX file."""
        return _ZOO / self.file


SUBJECTS = (
    Subject("consmax", "digits transformer, ConSmax", "digits_vit/consmax.onnx", 10_000),
    Subject("consmax-rtl", "the same, kernels in Verilog", "digits_vit/consmax.onnx", 200, rtl=True),
    Subject("sole", "digits transformer, E2Softmax and AILayerNorm", "digits_vit/sole.onnx", 10_000),
    Subject("softmax", "digits transformer, exact integer softmax", "digits_vit/softmax.onnx", 10_000),
    Subject("gaincell", "character GPT, gain cells", "char_gpt/gaincell.onnx", 1_000, "kv260"),
)


def verified(subject: Subject) -> list[dict[str, Any]]:
    """What ``hls4attn verify MODEL --json`` writes: a rung a stage."""
    from hls4attn.host.verbs.verify import verify

    quiet = Console(file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "verify.json")
        requested = ["rtl"] if subject.rtl else []
        names = requested or None
        verify(
            quiet, quiet, subject.path, None, subject.samples, SEED, names, subject.board, target, _STREAM, requested
        )
        found: list[dict[str, Any]] = json.loads(target.read_text())
    return found


def estimated(subject: Subject) -> dict[str, Any]:
    """Cycles and resources on the board, counted and estimated (``hls4attn estimate``): nothing is synthesised."""
    quiet = Console(file=io.StringIO())
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "estimate.json")
        if subject.rtl:
            from hls4attn.host.rtl_estimate import print_rtl

            print_rtl(quiet, subject.path, subject.board, _STREAM, target)
            found = json.loads(target.read_text())
            used = {"dsp": found["dsp"], "lut": found["lut_estimate"]}
            fits = found["fits"]
        else:
            from hls4attn.host.estimate import print_estimate

            print_estimate(quiet, subject.path, subject.board, _STREAM, target, None)
            found = json.loads(target.read_text())
            used, fits = next((b["used"], b["fits"]) for b in found["boards"] if b["board"] == subject.board)
    return {
        "latency_cycles": found["latency_cycles"],
        "interval_cycles": int(found["interval_cycles"]),
        "dsp": used["dsp"],
        "lut": used["lut"],
        "fits": fits,
    }


def measure(subject: Subject) -> dict[str, Any]:
    """A row of the record.

    Raises:
        MismatchError: if a stage differs from the reference.
    """
    return {
        "name": subject.name,
        "title": subject.title,
        "board": subject.board,
        "file": subject.file,
        "sha256": hashlib.sha256(subject.path.read_bytes()).hexdigest(),
        "verified": verified(subject),
        "estimate": estimated(subject),
    }


def read_record(path: Path = COMMITTED) -> list[dict[str, Any]]:
    """Rows of a record.

    Raises:
        ModelFileError: if it is not there, or something else.
    """
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text())["models"]
        for row in found:
            row["estimate"].keys()
            if not {"stage", "samples", "mismatches"} <= row["verified"][0].keys():
                raise KeyError("verified")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"{path} is missing or not what python -m hls4attn.host.bench.record writes: {error}"
        ) from error
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure all committed models and write the record, to the file that is named or beside this one."""
    target = Path(arguments[0]) if arguments else COMMITTED
    rows = []
    for subject in SUBJECTS:
        print(subject.title, flush=True)
        rows.append(measure(subject))
    write_json(target, {"seed": SEED, "models": rows})


if __name__ == "__main__":
    main(sys.argv[1:])
