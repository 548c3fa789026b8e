# SPDX-License-Identifier: Apache-2.0
"""The worked example of a score function in a package of its own: every step agrees, and mistakes are caught."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "add_operator"


def run(script, *arguments, **environment):
    env = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, *map(str, script), *arguments], capture_output=True, text=True, check=False, env=env
    )


def verify(folder, *arguments):
    return run([folder / "verify.py"], *arguments)


def mismatches(text):
    return {
        name: set(re.findall(rf"^  {name} +(\d+)/", text, re.MULTILINE))
        for name in re.findall(r"^  (\w+) +\d+/", text, re.MULTILINE)
    }


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(EXAMPLE, tmp_path / "example"))


@pytest.mark.compile
def test_every_step_agrees():
    done = verify(EXAMPLE, "--samples", "200")
    assert done.returncode == 0, done.stderr
    steps = ("keras", "onnx", "qonnx", "onnxruntime", "csim", "board")
    assert mismatches(done.stdout) == {name: {"0"} for name in steps}


@pytest.mark.slow
@pytest.mark.compile
def test_verilog_agrees():
    done = verify(EXAMPLE, "--samples", "500", "--rtl", "--netlist", "--stages", "onnx")
    assert done.returncode == 0, done.stderr
    assert mismatches(done.stdout) == {name: {"0"} for name in ("onnx", "rtl", "netlist")}


@pytest.mark.compile
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("p += shift_left<product>(1, places[h] - 1);", "", marks=pytest.mark.slow),
        pytest.param("code > 0 ? code : 0", "code", marks=pytest.mark.slow),
        pytest.param("if (p > CONFIG_T::code_limit) {", "if (p > 2 * CONFIG_T::code_limit) {", marks=pytest.mark.slow),
    ],
)
def test_a_mistake_in_the_kernel_is_caught(copy, right, wrong):
    header = copy / "squared_relu" / "squared_relu.h"
    text = header.read_text()
    assert right in text
    header.write_text(text.replace(right, wrong))
    done = verify(copy, "--samples", "200", "--stages", "csim")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "stages that differ from the reference: csim" in done.stderr


def test_a_mistake_in_the_function_body_is_caught(copy):
    body = copy / "squared_relu" / "function.py"
    body.write_text(body.read_text().replace("up = Add (product, round_up)", "up = Add (product, zero)"))
    done = verify(copy, "--samples", "200", "--stages", "onnxruntime")
    assert done.returncode == 1
    assert "stages that differ from the reference: onnxruntime" in done.stderr


@pytest.fixture
def installed(tmp_path):
    """A folder with the example as `pip install` leaves it."""
    info = tmp_path / "squared_relu-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: squared-relu\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[hls4attn.operators]\nsquared-relu = squared_relu:register\n")
    shutil.copytree(EXAMPLE / "squared_relu", tmp_path / "squared_relu")
    return tmp_path


def test_an_installed_package_is_found(installed):
    """By its entry point, without a script."""
    tmp_path = installed
    code = "from hls4attn.host.cli import main; main()"
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    arguments = ("verify", "--operator", "squared-relu", "--samples", "50", "--stages", "onnx")
    done = run(["-c", code], *arguments, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert mismatches(done.stdout) == {"onnx": {"0"}}
    (tmp_path / "squared_relu" / "hardware.py").write_text("raise RuntimeError('of its own')\n")
    done = run(["-c", code], *arguments, PYTHONPATH=path)
    assert done.returncode == 3
    assert "squared-relu: its operator squared-relu does not load: of its own" in " ".join(done.stderr.split())


KERAS_MODEL = """
import sys
from tensorflow import keras
import squared_relu.layer
from hls4attn.models.layers import ClippedActivation, QSelfAttention

eight = "quantized_bits(8,2,alpha=1)"
start = keras.Input((6, 8))
attention = QSelfAttention(2, 4, "squared-relu", *[eight] * 4, "quantized_bits(8,3,alpha=1)", eight, eight, name="att")
keras.Model(start, attention(ClippedActivation(eight)(start))).save(sys.argv[1])
"""


def test_a_keras_file_with_its_layer_is_exported_where_the_package_is_installed(installed):
    path = os.pathsep.join((str(installed), os.environ.get("PYTHONPATH", "")))
    model, exported = installed / "model.keras", installed / "model.onnx"
    done = run(["-c", KERAS_MODEL], str(model), PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    command = ["-c", "from hls4attn.host.cli import main; main()"]
    done = run(command, "export", str(model), str(exported))
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "names squared_relu.layer.SquaredRelu, which is not known here" in said
    assert "install its package" in said
    done = run(command, "export", str(model), str(exported), PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    done = run(command, "verify", str(exported), "--samples", "50", "--stages", "keras,onnx", PYTHONPATH=path)
    assert mismatches(done.stdout) == {"keras": {"0"}, "onnx": {"0"}}, done.stderr
    done = run(command, "verify", str(exported), "--samples", "50", "--stages", "onnx")
    assert done.returncode == 2
    assert "if another package registers it, install that" in " ".join(done.stderr.split())


SWEEP = """
import sys
from pathlib import Path
from hls4attn.host.sweep.runner import run_points
from hls4attn.host.sweep.plan import read_plan

if __name__ == "__main__":
    plan = read_plan(Path(sys.argv[1]))
    for result in run_points(plan.points("1"), workers=1, timeout_s=100.0):
        print(result.status, result.error, result.metrics.get("mismatches"), result.metrics.get("multipliers"))
    assert "squared_relu" not in sys.modules  # this process itself does not need it
"""


def test_a_sweep_knows_installed_operators(installed):
    """Called from Python: it is the evaluation that opens the model, in a process of its own on a Dask worker."""
    make = (
        "import sys, squared_relu; squared_relu.register()\n"
        "from hls4attn.host.operator_models import OPERATORS, operator_model\n"
        "from hls4attn.models.export.builder import save_model\n"
        "save_model(operator_model(OPERATORS['squared-relu'][0].spec()), sys.argv[1])\n"
    )
    path = os.pathsep.join((str(installed), os.environ.get("PYTHONPATH", "")))
    model, plan, script = (installed / name for name in ("one.onnx", "plan.toml", "sweep.py"))
    done = run(["-c", make], str(model), PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    plan.write_text(
        '[sweep]\nsamples = 20\nstages = ["onnxruntime"]\nobjectives = ["dsp:min"]\n'
        '[sweep.axes]\nmodel = "one.onnx"\nio_type = "io_parallel"\n'
    )
    script.write_text(SWEEP)
    done = run([script], str(plan), PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (0, "ok  0 32\n"), done.stdout + done.stderr


REFUSALS = """
import dataclasses, sys
from pathlib import Path
import squared_relu
from squared_relu import hardware
from squared_relu.function import BODY
from hls4attn.hls import scores
from hls4attn.hls.scores import add_score_kernel
from hls4attn.hls.stream.units import FURTHER_PARTS
from hls4attn.host import extension
from hls4attn.host.operator_models import OPERATORS
from hls4attn.models.errors import Hls4attnError
from hls4attn.models.export.functions import add_function, functions
from hls4attn.models.operators import score_types

def registered():
    names = sorted(scores.KERNELS), sorted(functions()), score_types(), sorted(OPERATORS)
    return *names, len(scores._RULES), len(extension.KERAS_LAYERS), len(extension.FURTHER_UNITS), len(FURTHER_PARTS)

def refused(call, *arguments):
    try:
        call(*arguments)
    except Hls4attnError as error:
        print(error)
    else:
        print("accepted", arguments)

spec, kernel, rule = squared_relu.SquaredReluSpec, hardware.KERNEL, hardware.parameters
good = []
register, extension.register_operator = extension.register_operator, good.append
squared_relu.register()
extension.register_operator = register
before = registered()
for wrong in (
    {"name": "consmax"},
    {"cases": ()},
    {"cases": OPERATORS["consmax"]},
    {"function": BODY.replace("SquaredRelu", "Cubed")},
    {"kernel": dataclasses.replace(kernel, header="none.h")},
    {"kernel": dataclasses.replace(kernel, operands=2)},
    {"op": "Squared"},
):
    refused(register, dataclasses.replace(good[0], **wrong))
    print("nothing" if registered() == before else f"accepted a half: {wrong}")
squared_relu.register()
after = registered()
squared_relu.register()
print("the same" if registered() == after != before else "accepted again")
refused(register, dataclasses.replace(good[0], name="again"))
refused(add_function, "ConSmax", BODY)
refused(add_function, "Other", BODY)
refused(add_function, "Other", "Other (x) => (y) {")
refused(add_score_kernel, spec, "AttnConSmax", kernel, rule)
refused(add_score_kernel, spec, "Squared", kernel, rule)
refused(add_score_kernel, spec, "AttnOther", dataclasses.replace(kernel, header="none.h"), rule)
hidden = Path(sys.argv[1])
(hidden / "attn_tail.h").write_text("")
(hidden / "squared_relu.h").write_text("")
refused(add_score_kernel, spec, "AttnOther", dataclasses.replace(kernel, folder=hidden), rule)
"""


def test_refusals(tmp_path):
    """Names that are taken, bodies and headers that do not fit; registering twice is fine."""
    path = os.pathsep.join((str(EXAMPLE), os.environ.get("PYTHONPATH", "")))
    done = run(["-c", REFUSALS], str(tmp_path), PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("nothing") == 7 and "the same" in lines
    wanted = (
        "consmax: there is another operator of that name",
        "squared-relu: has no cases",
        "squared-relu: case consmax",
        "SquaredRelu: its ONNX function is named 'Cubed'",
        "AttnSquaredRelu: no header none.h",
        "squared-relu: a score function has one operand. Received: 2",
        "again: there is another score function SquaredRelu",
        "ConSmax: there is another ONNX function of that name",
        "Other: its ONNX function is named 'SquaredRelu'",
        "Other: its ONNX function does not parse",
        "AttnConSmax: there is another kernel of that name",
        "A hardware operator is named Attn and a C identifier. Received: 'Squared'",
        "AttnOther: no header none.h",
        "has headers with names of this package: attn_tail.h",
    )
    text = "\n".join(lines)
    assert "accepted" not in text
    for words in wanted:
        assert words in text


WITHOUT = """
import squared_relu
from hls4attn.hls import HlsConfig, lower_graph
from hls4attn.hls.estimate import estimate
from hls4attn.hls.stream.network import to_stream
from hls4attn.hls.stream.units import FURTHER_PARTS
from hls4attn.host.operator_models import OPERATORS, operator_model
from hls4attn.models.errors import UnsupportedError
from hls4attn.models.export.reader import read_graph

squared_relu.register()
design = lower_graph(read_graph(operator_model(OPERATORS["squared-relu"][0].spec())))
print(estimate(design, HlsConfig()).resources.multiplier_count)
FURTHER_PARTS.clear()
for step in (to_stream, lambda d: estimate(d, HlsConfig())):
    try:
        step(design)
    except UnsupportedError as error:
        print(error)
"""


def test_what_it_does_without_is_refused_by_name():
    path = os.pathsep.join((str(EXAMPLE), os.environ.get("PYTHONPATH", "")))
    done = run(["-c", WITHOUT], PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    multipliers, streams, parts = done.stdout.splitlines()
    assert multipliers == "32"  # 16 scores of a row at once: a square and a factor each
    assert streams.startswith("score (AttnSquaredRelu): a score function of another package has no streaming form")
    assert parts.startswith("SquaredRelu: no estimate")
