# SPDX-License-Identifier: Apache-2.0
"""The explicit package list, the folders on disk, and the house rules that a linter does not know."""

import re
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
    files = [p for f in (*PACKAGES, "tests") for p in [*sources(f), *(ROOT / f).rglob("*.h")]]
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
        ("hls4attn.host.connect", ("onnx", "tensorflow", "hls4ml", "pynq")),
        ("hls4attn.host.driver", ("onnx", "tensorflow", "hls4ml")),
        ("hls4attn.host.cli", ("onnx", "tensorflow", "hls4ml", "pynq")),
    ],
)
def test_each_layer_imports_without_the_packages_of_the_next(module, absent):
    """A board has no TensorFlow, a laptop without a board needs no pynq."""
    code = f"import {module}, sys; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
