# SPDX-License-Identifier: Apache-2.0
"""Plans of sweeps: which points they have, and what is refused before anything runs."""

import json
import shutil

import pytest
from sweep_results import DIGITS, PLAN, ROOT, write_plan

from hls4attn.host.sweep.axes import AXES as AXIS_NAMES
from hls4attn.host.sweep.plan import read_plan
from hls4attn.host.sweep.sources import operators_digest
from hls4attn.models.errors import InputError

AXES = '[sweep]\n[sweep.axes]\nmodel = "m.onnx"\n'
FLOAT = '[sweep]\n[sweep.axes]\nmodel = "m.keras"\ncalibration = "digits-vit"\n'


def points(path, evaluator="1"):
    return list(read_plan(path).points(evaluator))


def test_grid_has_the_whole_product_in_order(tmp_path):
    found = points(write_plan(tmp_path))
    assert [(p.settings["score"], p.settings["weight_bits"]) for p in found] == [
        (score, bits) for score in ("softmax", "e2softmax") for bits in (4, 6, 8)
    ]
    assert len({p.key for p in found}) == 6
    first = found[0].settings
    assert first["model"] == str(tmp_path / "m.keras")
    assert json.loads(json.dumps(first)) == first
    defaults = {
        "norm": "ailayernorm",
        "activation_bits": 8,
        "bias_bits": 12,
        "residual_bits": 12,
        "backend": "Vitis",
        "io_type": "io_stream",
        "reuse_factor": "fit",
        "lanes": 0,
        "parallel_heads": 1,
        "board": "pynq-z2",
        "clock_period_ns": 10.0,
        "samples": 1000,
        "seed": 0,
        "stages": None,
        "synthesise": None,
        "boards": None,
        "calibration": "digits-vit",
        "calibration_sha256": None,
    }
    assert {name: first[name] for name in defaults} == defaults


def test_groups_inherit_replace_and_do_without(tmp_path):
    text = (
        '[sweep]\nsynthesise = "vivado"\n[sweep.axes]\nmodel = "m.keras"\ncalibration = "digits-vit"\nlanes = [1, 2]\n'
        '[[sweep.group]]\nboard = ["pynq-z2", "ZCU104"]\n'
        '[[sweep.group]]\nwithout = ["calibration", "lanes"]\nmodel = "m.onnx"\nio_type = "io_parallel"\n'
    )
    found = points(write_plan(tmp_path, text))
    assert [(p.settings["board"], p.settings["lanes"]) for p in found] == [
        *(("pynq-z2", 1), ("pynq-z2", 2), ("zcu104", 1), ("zcu104", 2), ("pynq-z2", 0))
    ]
    last = found[-1].settings
    assert (last["score"], last["weight_bits"], last["calibration"], last["reuse_factor"]) == (None, None, None, 1)
    assert all(p.resources == {"vivado": 1.0} for p in found)


def test_example_has_24_points():
    plan = read_plan(ROOT / "examples" / "digits_sweep.toml")
    assert len(plan) == len({p.key for p in plan.points("1")}) == 24
    assert {s["model"].rpartition("/")[2] for s in plan.settings()} == {"float.keras", "consmax.onnx"}
    assert {s["weight_bits"] for s in plan.settings()} == {4, 6, 8, None}
    assert {s["board"] for s in plan.settings()} == {"pynq-z2", "zcu104"}


def test_a_key_depends_on_what_decides_the_result_only(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        shutil.copy(DIGITS / "float.keras", folder / "m.keras")
    before = {p.key for p in points(write_plan(here))}
    turned = PLAN.replace("[4, 6, 8]", "[8, 12, 6, 4]").replace('["softmax", "e2softmax"]', '["e2softmax", "softmax"]')
    after = points(write_plan(there, turned))
    assert before < {p.key for p in after}
    assert len(after) == 8
    assert not before & {p.key for p in points(here / "plan.toml", evaluator="2")}
    assert not before & {p.key for p in points(write_plan(here, PLAN.replace("[sweep]", "[sweep]\nseed = 1")))}
    shutil.copy(DIGITS / "sole.keras", there / "m.keras")
    assert not before & {p.key for p in points(there / "plan.toml")}


def test_a_key_depends_on_the_figures_of_a_board_of_ones_own(tmp_path, monkeypatch):
    boards = tmp_path / "boards.toml"
    text = '[mine]\nfamily = "zynq"\npart = "xc7z010clg400-1"\nboard_part = "a:b:c"\nhp_width = 64\n'
    text += "ps_clock_mhz = 33.3\ncma_mb = 64\ndsp = "
    monkeypatch.setenv("HLS4ATTN_BOARDS", str(boards))
    boards.write_text(f"{text}80\n")
    path = write_plan(tmp_path, AXES + 'board = ["mine", "pynq-z2"]\n')
    before = points(path)
    assert before[0].settings["boards"] == str(boards)
    boards.write_text(f"{text}90\n")
    after = points(path)
    assert before[0].key != after[0].key
    assert before[1].key == after[1].key


@pytest.fixture
def operators_anew():
    """Installed operators are looked at once in a process."""
    operators_digest.cache_clear()
    yield operators_digest.cache_clear
    operators_digest.cache_clear()


def test_a_key_depends_on_the_operators_that_are_installed(tmp_path, monkeypatch, operators_anew):
    package = tmp_path / "site" / "own_scores"
    entry = package.parent / "own_scores-1.0.dist-info"
    for folder in (package / "__pycache__", entry):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text("def register():\n    pass\n")
    (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: own-scores\nVersion: 1.0\n")
    (entry / "entry_points.txt").write_text("[hls4attn.operators]\nown = own_scores:register\n")

    def key():
        operators_anew()
        (point,) = points(write_plan(tmp_path, AXES))
        return point.key

    seen = [key()]
    monkeypatch.syspath_prepend(str(package.parent))
    seen.append(key())
    (package / "kernel.h").write_text("// 1\n")
    seen.append(key())
    (package / "kernel.h").write_text("// 2\n")
    seen.append(key())
    assert len(set(seen)) == 4
    (package / "__pycache__" / "kernel.pyc").write_text("compiled")
    assert key() == seen[-1]


def test_random_search_is_reproducible_without_replacement_and_grows_at_its_end(tmp_path):
    def keys(count, seed):
        head = f'[sweep]\nsearch = "random"\npoints = {count}\nsearch_seed = {seed}'
        return [p.key for p in points(write_plan(tmp_path, PLAN.replace("[sweep]", head, 1)))]

    assert keys(3, 5) == keys(6, 5)[:3]
    assert sorted(keys(6, 5)) == sorted(p.key for p in points(write_plan(tmp_path)))
    assert keys(6, 5) != keys(6, 4)


def test_random_search_draws_all_alike(tmp_path):
    path = write_plan(tmp_path, PLAN.replace("[sweep]", '[sweep]\nsearch = "random"\npoints = 1', 1))
    text, seen = path.read_text(), []
    for seed in range(120):
        path.write_text(text.replace("points = 1", f"points = 1\nsearch_seed = {seed}"))
        (settings,) = read_plan(path).settings()
        seen.append((settings["score"], settings["weight_bits"]))
    assert len(set(seen)) == 6
    assert max(seen.count(s) for s in seen) < 45


def test_a_random_search_of_more_combinations_than_a_grid_may_have(tmp_path):
    reuse = ", ".join(map(str, range(1, 2001)))
    text = f"{AXES}reuse_factor = [{reuse}]\nlanes = [{reuse}]\n"
    with pytest.raises(InputError, match=r"plan.toml: \[sweep\]: 4,000,000 points; at most 1,000,000.*random"):
        read_plan(write_plan(tmp_path, text))
    text = text.replace("[sweep]", '[sweep]\nsearch = "random"\npoints = 50', 1)
    assert len({p.key for p in points(write_plan(tmp_path, text))}) == 50


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sweep", "is not valid TOML"),
        ("x = " + "9" * 5000 + "\n[sweep", "is not valid TOML"),
        ("x = " + "[" * 3000, "is not valid TOML: maximum recursion depth"),
        ('[sweep]\n[sweep.axes]\nmodel = "' + "m" * 300 + '.onnx"', "File name too long"),
        ("[hls]\n", "no [sweep] table"),
        ("[sweep]\n[other]\n", "other beside the [sweep] table"),
        (AXES.replace("[sweep]", "[sweep]\nsampels = 3", 1), "unknown keys sampels; known: search, points"),
        (AXES + "weigth_bits = 4", "[sweep.axes]: unknown axes weigth_bits; known: model"),
        ("[sweep]\n", "no model; name one"),
        ('[sweep]\n[sweep.axes]\nmodel = "x.onnx"', "no such file"),
        ('[sweep]\n[sweep.axes]\nmodel = "plan.toml"', "neither an .onnx file nor a float .keras"),
        ('[sweep]\n[sweep.axes]\nmodel = "bad.onnx"', "bad.onnx"),
        ('[sweep]\n[sweep.axes]\nmodel = "bad.keras"', "no .keras archive"),
        ('[sweep]\n[sweep.axes]\nmodel = ["m.onnx", "m.keras"]', "a [[sweep.group]] of its own"),
        ('[sweep]\n[sweep.axes]\nmodel = "m.keras"', "needs calibration"),
        (FLOAT.replace("digits-vit", "digits"), "Unknown model 'digits'"),
        (FLOAT.replace("digits-vit", "bad.npy"), "not a readable .npy"),
        (AXES + "weight_bits = 4", "without effect on m.onnx"),
        (AXES + "lanes = []", "lanes has no values"),
        (AXES + "lanes = [1, 1]", "lanes: 1 and 1 are the same; remove one"),
        (AXES + "clock_period_ns = [10, 10.0]", "clock_period_ns: 10.0 and 10.0 are the same"),
        (AXES + "clock_period_ns = [5, 10]", "several values of clock_period_ns, on which no cycle and no resource"),
        (AXES.replace("m.onnx", "~nobody-here/m.onnx"), "begins with the home of nobody here"),
        (
            AXES.replace("[sweep]", "[sweep]\ntimeout = 2592001", 1),
            "above 0, at most 30 days",
        ),
        (AXES + 'model2 = ["m.onnx"]', "unknown axes model2"),
        (AXES + "lanes = -1", "lanes must be a whole number from 0"),
        (AXES + "lanes = true", "lanes takes texts and numbers"),
        (AXES + 'lanes = "4"', "lanes must be a whole number"),
        (AXES + "board = 3", "board takes names"),
        (AXES + 'board = "zybo"', "Unknown board 'zybo'"),
        (AXES + 'backend = "Catapult"', "backend must be one of"),
        (AXES + 'reuse_factor = "auto"', "numbers and 'fit'"),
        (AXES + "reuse_factor = 0", "reuse_factor must be a whole number"),
        (AXES + "reuse_factor = [[1]]", "reuse_factor takes texts and numbers"),
        (AXES + 'io_type = ["io_stream", "io_parallel"]\nlanes = 2', "lanes has no effect on io_parallel"),
        (AXES + 'io_type = "io_parallel"\nreuse_factor = ["fit", 2]', "reuse_factor = 'fit' is for io_stream"),
        (FLOAT + 'score = "consmax"', "score must be one of"),
        (FLOAT + "weight_bits = 13", "weight_bits must be 2 to 12"),
        (FLOAT + 'weight_bits = "8"', "weight_bits takes whole numbers"),
        (FLOAT + "weight_bits = 8.0", "weight_bits takes whole numbers"),
        (AXES + "[[sweep.group]]\n[[sweep.group]]\nlanes = [0, 1]", "[[sweep.group]] 2: shares points with"),
        (AXES + '[[sweep.group]]\nwithout = ["lanes"]', "without lanes, which [sweep.axes] does not have"),
        (AXES + "lanes=1\n[[sweep.group]]\nwithout = ['lanes']\nlanes=2", "and yet with it"),
        (AXES.replace("[sweep]", "[sweep]\npoints = 3", 1), "points belongs to search = 'random'"),
        (AXES.replace("[sweep]", '[sweep]\nsearch = "random"', 1), "needs points = N"),
        (AXES.replace("[sweep]", '[sweep]\nsearch = "random"\npoints = 2', 1), "but there are only 1"),
        (AXES.replace("[sweep]", '[sweep]\nsearch = "bayes"', 1), "search must be one of: grid, random"),
        (AXES.replace("[sweep]", "[sweep]\nsamples = 0", 1), "samples must be a whole number"),
        (AXES.replace("[sweep]", "[sweep]\nseed = -1", 1), "seed must be a whole number"),
        (AXES.replace("[sweep]", "[sweep]\ntimeout = 0", 1), "timeout is seconds"),
        (AXES.replace("[sweep]", "[sweep]\ntimeout = nan", 1), "timeout is seconds"),
        (AXES.replace("[sweep]", '[sweep]\nstages = ["csmi"]', 1), "stages is a list of: keras"),
        (AXES.replace("[sweep]", '[sweep]\nsynthesise = "quartus"', 1), "synthesise must be one of"),
        (AXES.replace("[sweep]", '[sweep]\nonly_fitting = "yes"', 1), "only_fitting is true or false"),
        (AXES.replace("[sweep]", '[sweep]\nobjectives = ["speed:max"]', 1), "unknown metric 'speed'; known: accuracy"),
        (AXES.replace("[sweep]", '[sweep]\nobjectives = ["dsp"]', 1), "write dsp:min or dsp:max"),
        (AXES.replace("[sweep]", '[sweep]\nobjectives = ["dsp:min", "dsp:max"]', 1), "dsp is named twice"),
        (AXES.replace("[sweep]", "[sweep]\nobjectives = []", 1), "at least one is needed"),
    ],
)
def test_refused(tmp_path, text, words):
    for name in ("bad.onnx", "bad.keras", "bad.npy"):
        (tmp_path / name).write_text("no model")
    path = write_plan(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_plan(path)
    assert str(caught.value).startswith(str(path))
    assert words in str(caught.value)


def test_plans_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"Cannot read the plan .*nothing.toml: No such file"):
        read_plan(tmp_path / "nothing.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no UTF-8 text"):
        read_plan(tmp_path / "bytes.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(InputError, match="at most 1048576 bytes"):
        read_plan(tmp_path / "long.toml")


def test_two_files_of_the_same_model_are_the_same_point(tmp_path):
    text = AXES.replace('"m.onnx"', '["m.onnx", "copy.onnx"]')
    shutil.copy(DIGITS / "consmax.onnx", tmp_path / "copy.onnx")
    with pytest.raises(InputError, match=r"model: .*copy.onnx and .*m.onnx are the same; remove one"):
        read_plan(write_plan(tmp_path, text))


def test_the_guides_plan_is_one(tmp_path):
    page = (ROOT / "docs" / "pages" / "sweeps.md").read_text()
    text = page.partition("```toml\n")[2].partition("```")[0]
    path = tmp_path / "plan.toml"
    path.write_text(text.replace("../models", str(ROOT / "models")))
    plan = read_plan(path)
    assert len(plan) == 6
    assert all(f"`{axis}`" in page for axis in AXIS_NAMES)
