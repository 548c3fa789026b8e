# SPDX-License-Identifier: Apache-2.0
"""Small things to report on."""

import hashlib

import numpy as np
import onnx

from hls4attn.host.flow import Flow
from hls4attn.host.operator_models import OPERATORS, operator_model
from hls4attn.host.report.content import Column, Commands, Facts, Log, Note, Page, Picture, Section, Table, Tile
from hls4attn.host.report.made import Made
from hls4attn.host.sweep.point import Result
from hls4attn.host.sweep.store import Store

EVIL = "<script>alert(1)</script>"
CIRCLE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" viewBox="0 0 40 40">'
    '<circle cx="20" cy="20" r="9"/></svg>'
)


def operator_file(folder, operator="consmax", case=0, name="op"):
    """The ONNX file of an operator alone."""
    path = folder / f"{name}.onnx"
    onnx.save(operator_model(OPERATORS[operator][case].spec()), path)
    return path


def hostile_file(folder):
    """A model whose names are markup."""
    path = operator_file(folder, name="evil")
    model = onnx.load(path)
    model.graph.name = EVIL
    for node in model.graph.node:
        node.name = EVIL
    onnx.save(model, path)
    return path


def project(folder, source):
    """What `convert` leaves, without its overlay and its compiled simulation."""
    flow = Flow.open(source, folder=folder)
    _ = flow.project
    Made.of("convert", flow, source).write(folder)
    return folder


def page(**changes):
    """A page with a block of each kind."""
    table = Table(
        "Sizes",
        (Column("name"), Column("size", True)),
        (("b|c", "1,024"), ("a", "20"), ("none", ""), ("all", "1,044")),
        ("good", "bad", "", ""),
        total=True,
        sortable=True,
    )
    blocks = (
        Note("plain *text* & more"),
        Note("all is well", "good"),
        Facts((("hash_of_it", "ab_cd"),), code=True),
        table,
        Table("Folded", (Column("x"),), (("deep",),), folded=True),
        Picture("dot", "A dot", "svg", CIRCLE.encode(), "One dot.", own_colours=True),
        Commands(("hls4attn doctor",)),
        Log("what\n\nit said", "line one\n````\nline two"),
    )
    values = {
        "title": EVIL,
        "subject": "Sample",
        "lead": "A lead.",
        "made": "Today.",
        "tiles": (Tile("Mismatches", "0", "5 stages", "good"),),
        "sections": (Section("one", "First", blocks), Section("two", "Second", (Note("no answer", "why"),))),
    }
    return Page(**{**values, **changes})


def sweep_file(path, finished=False):
    """Results of a sweep of 12 points, one of which failed, of 14 that were planned."""
    rng, results = np.random.default_rng(0), []
    for score in ("consmax", "softmax"):
        for reuse in (1, 2, 4, 8, 16, 32):
            settings = {"model": "/somewhere/digits.onnx", "score": score, "reuse_factor": reuse, "board": "pynq-z2"}
            key = hashlib.sha256(f"{score}{reuse}".encode()).hexdigest()
            metrics = {
                "accuracy": 0.9 + 0.05 * float(rng.random()),
                "interval_cycles": 600 * reuse,
                "dsp": 900 // reuse,
                "mismatches": 0,
                "samples": 100,
                "fits": reuse > 1,
                "why": {},
            }
            results.append(Result(key, settings, "ok", metrics, 1.5, "w", "", ""))
    last = results[-1]
    log = f"building\n{EVIL}\nno room"
    results[-1] = Result(last.key, last.settings, "failed", {}, 0.5, "w", f"ToolError: {EVIL}", log)
    meta = {
        "plan": "[sweep]\nsamples = 100\n",
        "plan_file": "plan.toml",
        "points": 12 if finished else 14,
        "objectives": ["accuracy:max", "interval_cycles:min", "dsp:min"],
        "only_fitting": True,
        "versions": {"hls4attn": "0.1.0"},
    }
    store = Store.open(path, meta, [r.key for r in results])
    for result in results:
        store.add(result)
    store.close()
    return path


def by_key(content):
    """Sections of a page by their keys."""
    return {section.key: section for section in content.sections}


def texts(section):
    """All that a section's notes say."""
    return " ".join(b.text for b in section.blocks if isinstance(b, Note))
