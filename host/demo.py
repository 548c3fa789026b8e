# SPDX-License-Identifier: Apache-2.0
"""The first thing to run: the trained ConSmax transformer, all the way to the (emulated) board."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from hls4attn.host.flow import Flow
from hls4attn.host.paths import check_folder
from hls4attn.host.report import page
from hls4attn.host.report.assembly import assemble
from hls4attn.host.report.ladder import leave, of_rungs
from hls4attn.host.report.made import Made
from hls4attn.host.report.subject import Subject
from hls4attn.host.samples import verification_codes
from hls4attn.host.verbs.common import working
from hls4attn.host.verbs.verify import climb_and_print
from hls4attn.models.errors import MismatchError
from hls4attn.models.zoo import zoo_model

MODEL, SCORE = "digits-vit", "consmax"


def run_demo(out: Console, err: Console, folder: Path, samples: int) -> None:
    """Convert, verify, classify the test set on the board, write report and picture.

    Raises:
        MismatchError: if any stage differs from the reference.
    """
    start = time.perf_counter()
    check_folder(folder)
    zoo = zoo_model(MODEL)
    data = zoo.load_data()
    source = zoo.folder / f"{SCORE}.onnx"
    out.print(f"[bold]{MODEL} with {SCORE}[/], trained weights and ONNX file from the repository")
    flow = Flow.open(source, folder=folder / "project")
    with working(err, "converting to HLS"):
        project = flow.project
    made = f"{project.config.backend}, {project.config.part}"
    out.print(f"  hls4ml project ({made}): {folder / 'project'}", soft_wrap=True, markup=False)
    codes, described = verification_codes(flow.graph, samples, 0)
    out.print(f"  every stage on {described}:", soft_wrap=True, markup=False)
    rungs = climb_and_print(out, err, flow, codes, None)
    with working(err, "classifying on the board"), flow.on_board() as overlay:
        logits = overlay.model.predict(data.x_test)
        tag = overlay.model.device_tag
    predictions = np.argmax(logits, axis=1)
    accuracy = float(np.mean(predictions == data.y_test))
    share = f": {accuracy:.2%} of {len(data.y_test)} test images"
    out.print(Text.assemble("  accuracy on ", (tag, "bold"), share), soft_wrap=True)
    with working(err, "drawing"):
        picture = folder / "digits.png"
        _draw(picture, data, predictions, tag)
        climbed = of_rungs(flow, project.path, rungs, samples, 0, described)
        leave(climbed, project.path)
        origin = Made.of("convert", flow, source)
        origin.write(project.path)
        measured = f"On {tag}: {accuracy:.2%} of {len(data.y_test)} test images."
        subject = Subject("project", project.path, flow.name, flow.model, origin)
        report = page.write(assemble(subject, flow, "", climbed, "", 0, measured), folder / "report.html")
    out.print(f"  report: {report}   picture: {picture}", soft_wrap=True, markup=False)
    out.print(f"  done in {time.perf_counter() - start:.0f} s", markup=False)
    wrong = [r.stage for r in rungs if r.mismatches]
    if wrong:
        raise MismatchError(f"stages that differ from the reference: {', '.join(wrong)}")


def _draw(path: Path, data: Any, predictions: np.ndarray, tag: str) -> None:
    """The first test images and what was read."""
    import matplotlib

    matplotlib.use("Agg")
    from hls4attn.host.pictures import plot_digits, save_figure

    save_figure(plot_digits(data.x_test[:12], data.y_test[:12], predictions[:12], f"read on {tag}"), path)
