# SPDX-License-Identifier: Apache-2.0
"""The GPU baseline: its arithmetic, and what it says where there is no GPU."""

import sys
from types import SimpleNamespace

import pytest

from hls4attn.host import cli
from hls4attn.host.bench.gpu_attention import cache_bytes, find_gpu, row_of
from hls4attn.models.errors import DeviceError, ToolError


def test_figures_by_hand():
    assert cache_bytes(1) == 2 * 12 * 1024 * 64 * 2 == 3_145_728
    row = row_of(64, [130.0, 128.0, 140.0])
    assert (row.microseconds, row.spread) == (130.0, 6.0)
    assert row.per_token == pytest.approx(2.03125)
    assert row.ratio == pytest.approx(31.25)
    assert row.gigabytes == pytest.approx(64 * 3.145728e6 / 130e-6 / 1e9)


def test_without_pytorch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolError, match="pip install torch"):
        find_gpu()
    with pytest.raises(SystemExit) as stopped:
        cli.main(["bench", "gpu-attention"])
    assert stopped.value.code == 3
    assert "PyTorch is not installed" in capsys.readouterr().err


def test_without_a_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False)))
    with pytest.raises(DeviceError, match="no GPU here, so nothing was measured"):
        find_gpu()
