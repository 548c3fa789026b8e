# SPDX-License-Identifier: Apache-2.0
"""io_stream projects: exact on both backends, run-time lengths, no deadlock; what streams do wrong is an error."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hls_models import A8, classifier, consmax
from hls_typed import TypedMaker

from hls4attn.hls import CSim, Design, HlsConfig, check_hls_model, convert, lower, lower_graph, open_project, register
from hls4attn.hls.bench import design_simulation
from hls4attn.hls.hwfile import lower_design, to_onnx
from hls4attn.hls.stream.dataflow import DataflowSim
from hls4attn.hls.stream.network import to_stream
from hls4attn.models.errors import InputError, SimulationError, UnsupportedError
from hls4attn.models.export import Reference, random_codes, read_graph, shortened
from hls4attn.models.formats import Fixed

SEED = 4
ZOO = Path(__file__).parents[2] / "models/zoo/digits_vit"
STREAM = HlsConfig(io_type="io_stream", reuse_factor=2)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return classifier(1, 6, 8, 12, consmax(2), SEED)


@pytest.fixture(scope="module")
def design(model: onnx.ModelProto) -> Design:
    return lower_design(read_graph(model), STREAM)


@pytest.fixture(scope="module")
def sim(model: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> CSim:
    return CSim(convert(model, tmp_path_factory.mktemp("stream") / "p", STREAM))


def wrong_samples(sim: CSim, samples: int = 300) -> int:
    graph = read_graph(sim.project.model)
    codes = random_codes(graph.input, samples, SEED)
    expected = Reference(graph).run(codes)
    assert len(np.unique(expected)) > 30
    return int(np.count_nonzero(np.any((sim.run(codes) != expected).reshape(samples, -1), axis=1)))


# ---- projects --------------------------------------------------------------------------------------------------------


@pytest.mark.compile
def test_a_project_is_exact_and_shows_every_kernel(sim: CSim) -> None:
    assert wrong_samples(sim) == 0
    graph = read_graph(sim.project.model)
    codes = random_codes(graph.input, 40, SEED)
    expected, found = Reference(graph).trace(codes), sim.trace(codes)
    assert {"block0_att_k_q", "block0_att_merged", graph.output.name} <= set(found)
    assert not {"block0_att_scores_q", "block0_att_p"} & set(found)  # inside the attention
    for name, value in found.items():
        assert np.array_equal(value, expected[name]), name


@pytest.mark.compile
def test_the_other_backend_writes_the_same(model: onnx.ModelProto, sim: CSim, tmp_path: Path) -> None:
    lanes = next(
        n.ints["lanes"]
        for n in lower_design(read_graph(model), STREAM).nodes
        if "lanes" in n.ints and "head_dim" in n.ints
    )
    vivado = convert(model, tmp_path / "p", replace(STREAM, backend="Vivado", lanes=lanes))
    names = ("firmware/defines.h", "firmware/attn.cpp", "csim/bridge.cpp", "csim/hls_stream.h")
    for name in names:
        assert (vivado.path / name).read_text() == (sim.project.path / name).read_text(), name
    assert wrong_samples(CSim(vivado), 100) == 0


def test_the_top_function_is_a_dataflow_of_single_readers(model: onnx.ModelProto, tmp_path: Path) -> None:
    made = convert(model, tmp_path / "p", STREAM)
    design = lower_design(read_graph(model), STREAM)
    text = (made.path / "firmware" / "attn.cpp").read_text()
    assert text.count("#pragma HLS DATAFLOW") == 1
    assert "clone" not in text
    depths = sorted(int(d) for d in re.findall(r"#pragma HLS STREAM variable=\w+ depth=(\d+)", text))
    inner = [s.depth for n, s in design.streams.items() if n not in (design.input.name, design.result)]
    assert depths == sorted(inner)
    for name in re.findall(r'hls::stream<\w+> (\w+)\("', text):
        calls = [line for line in text.splitlines() if "hls4attn::" in line and re.search(rf"\b{name}\b", line)]
        assert len(calls) == 2, name  # one writer, one reader
    project_files = {p.relative_to(made.path).as_posix() for p in made.path.rglob("*.h")}
    assert "firmware/nnet_utils/attn_dense_stream.h" in project_files
    assert made.include_dirs[0] == made.path / "csim"


def test_the_form_is_part_of_a_project(model: onnx.ModelProto, tmp_path: Path) -> None:
    first = convert(model, tmp_path / "p", STREAM)
    assert convert(model, tmp_path / "p", STREAM).cached
    assert open_project(tmp_path / "p").interface == first.interface
    assert first.interface.io_type == "io_stream"
    for other in (HlsConfig(), replace(STREAM, lanes=2), replace(STREAM, parallel_heads=2)):
        made = convert(model, tmp_path / "p", other)
        assert not made.cached
        assert made.digest != first.digest


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["Vitis", "Vivado"])
@pytest.mark.parametrize("name", ["consmax", "softmax", "sole"])
def test_the_trained_transformers_stream(tmp_path: Path, name: str, backend: str) -> None:
    config = HlsConfig(backend=backend, io_type="io_stream", reuse_factor=4)
    assert wrong_samples(CSim(convert(ZOO / f"{name}.onnx", tmp_path / "p", config)), 500) == 0


# ---- what streams do wrong -------------------------------------------------------------------------------------------


def one_row_less(design: Design, victim: str) -> Design:
    """A kernel that believes in a shorter sequence."""
    nodes = [replace(n, ints=n.ints | {"rows": n.ints["rows"] - 1}) if n.name == victim else n for n in design.nodes]
    return replace(design, nodes=tuple(nodes))


@pytest.mark.compile
def test_starvation_is_an_error_with_the_name_of_the_stream(design: Design) -> None:
    sim = design_simulation(one_row_less(design, "block0_up"))
    codes = random_codes(design.input, 40, SEED)
    with pytest.raises(SimulationError, match=r"sample \d+: stream layer\d+_out.*: read while it is empty"):
        sim.run(codes)


@pytest.mark.compile
def test_an_edited_project_says_which_stream_kept_words(model: onnx.ModelProto, tmp_path: Path) -> None:
    made = convert(model, tmp_path / "p", STREAM)
    codes = random_codes(made.interface.input, 3, SEED)
    source = made.path / "firmware" / "attn.cpp"
    text = source.read_text()
    source.write_text(re.sub(r"(reduce_sum<.*), 6\);", r"\1, 5);", text))
    assert source.read_text() != text
    with pytest.raises(SimulationError, match=r"^csim: sample 0: stream layer\d+_out: 1 words left over"):
        CSim(made).run(codes)


@pytest.mark.compile
def test_threads_and_their_errors(sim: CSim, design: Design) -> None:
    codes = random_codes(read_graph(sim.project.model).input, 401, SEED)
    one, five = (CSim(sim.project, threads=n) for n in (1, 5))
    assert np.array_equal(one.run(codes), five.run(codes))
    broken = design_simulation(one_row_less(design, "block0_up"), threads=5)
    with pytest.raises(SimulationError, match="read while it is empty"):
        broken.run(codes)
    with pytest.raises(InputError, match="no run-time length"):
        sim.run(codes, 3)


# ---- run-time lengths and dataflow -----------------------------------------------------------------------------------


@pytest.mark.compile
def test_any_length_is_the_shortened_graph(model: onnx.ModelProto, design: Design) -> None:
    graph, sim = read_graph(model), design_simulation(design)
    codes = random_codes(graph.input, 60, SEED)
    lengths = np.arange(60) % 6 + 1
    found, shown = sim.run(codes, lengths), sim.trace(codes, lengths)
    assert np.array_equal(sim.run(codes, 6), Reference(graph).run(codes))
    for length in range(1, 7):
        some = lengths == length
        truth = Reference(shortened(graph, graph.input.name, length)).trace(codes[some][:, :length])
        assert np.array_equal(found[some], truth[graph.output.name])
        merged = shown["block0_att_merged"][some]
        assert np.array_equal(merged[:, :length], truth["block0_att_merged"])
        assert not merged[:, length:].any()
    for bad in (0, 7, [1, 2], 2.0, np.full(60, 7)):
        with pytest.raises(InputError, match="lengths must be one integer from 1 to 6"):
            sim.run(codes, bad)


@pytest.mark.compile
def test_derived_depths_never_stop_and_shallow_ones_do(model: onnx.ModelProto, design: Design) -> None:
    graph = read_graph(model)
    codes = random_codes(graph.input, 12, SEED)
    expected = Reference(graph).run(codes)
    sim = DataflowSim(design)
    for seed, stalls, interrupts in ((0, (0, 0), 0), (1, (40, 0), 20), (2, (0, 70), 50), (3, (50, 50), 80)):
        run = sim.run(codes, seed=seed, stalls=stalls, interrupts=interrupts)
        assert np.array_equal(run.codes, expected)
        assert all(f["high_water"] <= f["depth"] for f in run.fifos.values())
    residual = next(n for n in design.nodes if n.op == "AttnAdd").inputs[0]
    assert design.streams[residual].depth > 6
    shallow = replace(design, streams=design.streams | {residual: replace(design.streams[residual], depth=2)})
    with pytest.raises(SimulationError, match=r"(?s)deadlock:.*fork 2, sequence 0: writes .*full \(2 words\)"):
        DataflowSim(shallow).run(codes)


@pytest.mark.compile
def test_reshapes_transposes_and_outputs_that_are_read() -> None:
    m = TypedMaker((4, 6), Fixed(6, 2), 9)
    turned = m.add("Transpose", "x", permutation=(1, 0))
    y = m.quant(m.add("MatMul", turned, m.constant((4, 4), Fixed(4, 2))), A8)  # mixes rows
    y = m.reshape(y, (4, 6))
    y = m.quant(m.add("MatMul", m.quant(m.add("Add", "x", y), A8), m.constant((6, 6), Fixed(4, 2))), A8)
    flat = m.reshape(y, (24,))
    z = m.quant(m.add("MatMul", flat, m.constant((24, 24), Fixed(4, 2))), A8)
    out = m.quant(m.add("Add", m.reshape(z, (4, 6)), y), A8)
    graph = m.graph(out)
    design = to_stream(lower_graph(graph), HlsConfig(io_type="io_stream", reuse_factor=5))
    assert sum(n.moves and n.op == "AttnPermute" for n in design.nodes) >= 3
    codes = random_codes(graph.input, 200, SEED)
    sim, expected = design_simulation(design), Reference(graph).trace(codes)
    assert np.array_equal(sim.run(codes), expected[out])
    assert np.array_equal(DataflowSim(design).run(codes[:9], stalls=(30, 30), interrupts=40).codes, expected[out][:9])


# ---- hls4ml's own flow -----------------------------------------------------------------------------------------------


def to_hls4ml(lowered: onnx.ModelProto, folder: Path, config: object = None, io_type: str = "io_stream") -> object:
    hls4ml = pytest.importorskip("hls4ml")
    register()
    with contextlib.redirect_stdout(io.StringIO()):
        return hls4ml.converters.convert_from_onnx_model(
            lowered, output_dir=str(folder), backend="Vitis", io_type=io_type, hls_config=config
        )


def settings(reuse: int, **more: object) -> dict[str, object]:
    return {"Model": {"Precision": "fixed<16,6>", "ReuseFactor": reuse} | more}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (settings(1), r"embed: ReuseFactor 1, but the model was lowered with 2"),
        (settings(2) | {"LayerName": {"block0_up": {"ReuseFactor": 4}}}, "block0_up: ReuseFactor 4, .* with 2"),
        (settings(2, PipelineStyle="pipeline"), "PipelineStyle 'pipeline': streams need dataflow"),
        (settings(2, Strategy="Unrolled"), "Strategy 'Unrolled'"),
    ],
)
def test_settings_that_contradict_the_schedule_are_refused(
    design: Design, tmp_path: Path, config: dict[str, object], message: str
) -> None:
    made = to_hls4ml(to_onnx(design), tmp_path / "p", config)
    with pytest.raises(UnsupportedError, match=message):
        check_hls_model(made, design, config)


def test_the_public_way_passes_the_guard(model: onnx.ModelProto, design: Design, tmp_path: Path) -> None:
    made = to_hls4ml(lower(model, config=STREAM), tmp_path / "p", settings(2))
    check_hls_model(made, design, settings(2))
    with pytest.raises(UnsupportedError, match="changed"):
        check_hls_model(made, lower_design(read_graph(model), replace(STREAM, lanes=1)), settings(2))
    fork = next(n for n in made.get_layers() if n.class_name == "AttnFork")  # type: ignore[attr-defined]
    fork.get_output_variable(fork.outputs[1]).pragma = ("stream", 1)
    with pytest.raises(UnsupportedError, match=f"{fork.name}: hls4ml changed the depth"):
        check_hls_model(made, design, settings(2))


def test_a_streaming_model_is_not_for_arrays(design: Design, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"lowered for io_stream, but hls4ml converts for io_parallel"):
        to_hls4ml(to_onnx(design), tmp_path / "p", settings(2), "io_parallel")


@pytest.mark.compile
@pytest.mark.slow
def test_hls4mls_own_compile_and_predict(
    model: onnx.ModelProto, design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = to_hls4ml(to_onnx(design), tmp_path / "own", settings(2))
    with contextlib.redirect_stdout(io.StringIO()):
        made.compile()  # type: ignore[attr-defined]
    graph = read_graph(model)
    codes = random_codes(graph.input, 20, SEED)
    found = made.predict(np.ascontiguousarray(graph.input.format.to_real(codes), dtype=np.float32))  # type: ignore[attr-defined]
    expected = graph.output.format.to_real(Reference(graph).run(codes))
    assert np.array_equal(np.asarray(found, dtype=np.float64).reshape(expected.shape), expected)


@pytest.mark.compile
def test_a_project_needs_nothing_of_this_package(sim: CSim, tmp_path: Path) -> None:
    """Its bridge compiles with the files of the project alone."""
    folders = [f"-I{p}" for p in sim.project.include_dirs]
    assert all(str(sim.project.path) in f for f in folders)
    command = ["g++", "-std=c++11", "-fsyntax-only", "-w", *folders, str(sim.project.bridge)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[:2000]


@pytest.mark.compile
def test_the_command_line_climbs_every_rung(tmp_path: Path, model: onnx.ModelProto) -> None:
    path = tmp_path / "small.onnx"
    path.write_bytes(model.SerializeToString())
    options = ["--samples", "50", "--io", "io_stream", "--reuse", "2", "--stages", "onnx,csim,board"]
    code = "import sys; from hls4attn.host.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", str(path), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rungs = re.findall(r"^ +(\w+) +0/\d+ mismatches", done.stdout, re.MULTILINE)
    assert rungs == ["onnx", "csim", "board"]
    arguments = ["convert", str(path), "--io", "io_stream", "--lanes", "7", "--out", str(tmp_path / "p")]
    refused = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "lanes=7" in refused.stderr
    assert not (tmp_path / "p").exists()
