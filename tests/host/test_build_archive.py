# SPDX-License-Identifier: Apache-2.0
"""The archive that brings a built overlay to a board without network."""

import contextlib
import os
import runpy
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from dense_model import make_design

from hls4attn.host.building.archive import write_archive
from hls4attn.overlays.hwh import build_hwh
from hls4attn.overlays.package import write_package
from tests.fake_vivado.workshop import real_bit

RECORD = {"tools": {"vivado": {"banner": "vivado v2024.1"}}, "hls4attn": {"git_revision": None}}


def built(folder, **changes):
    design = make_design(**changes)
    return write_package(design, folder / "overlay", bit=real_bit(design), handoff=build_hwh(design))


def test_it_holds_overlay_record_code_and_how_to_use_them(tmp_path):
    archive = write_archive(built(tmp_path), RECORD, tmp_path, {"vectors.npz": b"codes"})
    assert archive.name == "nn-pynq-z2.zip" and archive.stat().st_size < 2 << 20
    with zipfile.ZipFile(archive) as held:
        names = {name.removeprefix("nn-pynq-z2/") for name in held.namelist()}
        readme = held.read("nn-pynq-z2/README.txt").decode()
    assert {"overlay/nn.bit", "overlay/nn.hwh", "overlay/nn.json", "build.json", "first_run.py"} <= names
    assert {"hls4attn/host/driver.py", "hls4attn/overlays/boards.toml", "vectors.npz"} <= names
    assert not any(name.startswith("hls4attn/hls/") or name.endswith((".onnx", ".keras")) for name in names)
    assert "vivado v2024.1" in readme and "overlay/nn.bit" in readme
    first = archive.read_bytes()
    assert write_archive(built(tmp_path), RECORD, tmp_path, {"vectors.npz": b"codes"}).read_bytes() == first


@pytest.mark.parametrize("wrong", [0, 1])
@pytest.mark.parametrize("prefix", ["", "softmax."])
def test_the_first_run_compares_with_the_reference(tmp_path, monkeypatch, capsys, prefix, wrong):
    """On stand-ins for the driver; `prefix` is that of an operator of a bank."""
    archive = write_archive(built(tmp_path), RECORD, tmp_path)
    with zipfile.ZipFile(archive) as held:
        held.extractall(tmp_path)
    codes = np.arange(12).reshape(4, 3)
    outputs = codes * 2
    outputs[:wrong] += 1
    np.savez(tmp_path / archive.stem / "vectors.npz", **{f"{prefix}inputs": codes, f"{prefix}outputs": outputs})
    model = SimpleNamespace(
        device_tag="board:x", predict_codes=lambda c: c * 2, run=lambda name, c: c * 2 if name == "softmax" else None
    )
    loaded = []

    def connect(emulated):
        assert not emulated  # nobody asked for it: a missing board is an error, not an emulated one
        return "the board"

    def load(path, device):
        loaded.append((path, device))
        return contextlib.nullcontext(SimpleNamespace(model=model, ip_dict={"axi_dma_0": {}}))

    monkeypatch.setitem(sys.modules, "hls4attn.host.connect", SimpleNamespace(connect=connect))
    monkeypatch.setitem(sys.modules, "hls4attn.host.driver", SimpleNamespace(load_overlay=load))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("HLS4ATTN_EMULATED_BOARD", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(tmp_path / archive.stem / "first_run.py"))
    assert ended.value.code == wrong and f"{wrong}/4 answers differ" in capsys.readouterr().out
    assert loaded == [(tmp_path / archive.stem / "overlay" / "nn.bit", "the board")]


def test_it_runs_without_what_a_board_does_not_have(tmp_path):
    """No network and no further package: numpy and pynq are all that an image brings."""
    archive = write_archive(built(tmp_path), RECORD, tmp_path)
    with zipfile.ZipFile(archive) as held:
        held.extractall(tmp_path)
    code = (
        "import sys\n"
        "absent = {'typer', 'rich', 'onnx', 'tensorflow', 'tomli', 'tomllib', 'hls4ml', 'jinja2'}\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in absent:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"sys.path.insert(0, {str(tmp_path / archive.stem)!r})\n"
        "import hls4attn.host.driver as driver\n"
        "from hls4attn.overlays.package import read_package\n"
        f"print(driver.__file__, read_package({str(tmp_path / archive.stem / 'overlay')!r}).design.name)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / archive.stem) in done.stdout and done.stdout.split()[-1] == "nn"
