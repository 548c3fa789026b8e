# SPDX-License-Identifier: Apache-2.0
"""The explicit package list, the folders on disk, and the house rules that a linter does not know."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FOLDERS = ("models", "hls", "overlays", "host")
PACKAGES = (*FOLDERS, "notebooks")
GET_NOTEBOOKS = "from pynq._cli.get_notebooks import main; main()"  # as the script of that name
ORDER = {name: place for place, name in enumerate(FOLDERS)}


def sources(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def test_every_python_folder_is_listed_and_every_listed_one_exists():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        "hls4attn." + path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for folder in PACKAGES
        for path in sources(folder)
        if path.name == "__init__.py"
    }
    assert listed == found


def test_every_file_names_its_licence():
    kinds = ("*.h", "*.v", "*.sv", "*.cpp")
    files = [p for f in (*PACKAGES, "tests") for p in [*sources(f), *(q for k in kinds for q in (ROOT / f).rglob(k))]]
    assert len(files) > 50
    assert [str(p) for p in files if "SPDX-License-Identifier: Apache-2.0" not in p.read_text()[:200]] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_dependencies_point_one_way(folder):
    upward = []
    for path in sources(folder):
        for name in re.findall(r"hls4attn\.(\w+)", path.read_text()):
            if name in ORDER and ORDER[name] > ORDER[folder]:
                upward.append((str(path.relative_to(ROOT)), name))
    assert upward == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("hls4attn.models.operators", ("onnx", "tensorflow", "hls4ml", "pynq")),
        ("hls4attn.models.export", ("tensorflow", "hls4ml", "pynq")),
        ("hls4attn.hls", ("hls4ml", "tensorflow", "pynq")),
        ("hls4attn.overlays.package", ("onnx", "tensorflow", "hls4ml", "pynq")),
        ("hls4attn.overlays.building.runner", ("onnx", "tensorflow", "hls4ml", "pynq", "rich")),
        ("hls4attn.host.connect", ("onnx", "tensorflow", "hls4ml", "pynq")),
        ("hls4attn.host.driver", ("onnx", "tensorflow", "hls4ml")),
        ("hls4attn.host.library", ("onnx", "sklearn", "tensorflow", "hls4ml", "pynq")),
        ("hls4attn.host.bench_report", ("onnx", "sklearn", "tensorflow", "hls4ml", "pynq")),
        ("hls4attn.host.cli", ("onnx", "tensorflow", "hls4ml", "pynq")),
    ],
)
def test_each_layer_imports_without_the_packages_of_the_next(module, absent):
    """A board has no TensorFlow, a laptop without a board needs no pynq."""
    code = f"import {module}, sys; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_the_wheel_delivers_data_and_notebooks(tmp_path):
    """Built as for a release, installed into a folder, and asked by PYNQ's own command for its notebooks."""
    source, site, target = tmp_path / "source", tmp_path / "site", tmp_path / "delivered"
    source.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-deps", "--no-index"]
    install = [*pip, "--no-build-isolation", "--target", str(site), str(source)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    kinds = (
        "*.py",
        "*.ipynb",
        "*.toml",
        "*.onnx",
        "*.npz",
        "*.keras",
        "*.json",
        "*.h",
        "*.v",
        "*.sv",
        "*.cpp",
        "py.typed",
    )
    files = {p.relative_to(ROOT).as_posix() for f in PACKAGES for kind in kinds for p in (ROOT / f).rglob(kind)}
    files = {name for name in files if ".ipynb_checkpoints" not in name}
    assert {name for name in files if not (site / "hls4attn" / name).is_file()} == set()
    done = subprocess.run(
        [sys.executable, "-c", GET_NOTEBOOKS, "hls4attn", "--path", str(target), "--ignore-overlays"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    notebooks = {p.name for p in (ROOT / "notebooks").glob("*.ipynb")}
    assert {p.name for p in (target / "hls4attn").iterdir()} == notebooks, done.stderr
