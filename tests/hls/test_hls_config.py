# SPDX-License-Identifier: Apache-2.0
"""Configurations: every field checked, every unknown key refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hls4attn.hls import HlsConfig
from hls4attn.models.errors import UnsupportedError


def test_round_trip() -> None:
    config = HlsConfig(backend="Vivado", clock_period_ns=5, layer_reuse_factor={"b": 2, "a": 1})
    assert HlsConfig.from_dict(config.to_dict()) == config
    assert config.clock_period_ns == 5.0
    assert list(config.layer_reuse_factor) == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backend": "Quartus"}, "backend must be one of: Vitis, Vivado. Received: 'Quartus'"),
        ({"io_type": "io_serial"}, "io_type must be one of: io_parallel, io_stream. Received: 'io_serial'"),
        ({"lanes": 4}, "lanes and parallel_heads have no effect on io_type='io_parallel'"),
        ({"io_type": "io_stream", "lanes": -1}, "lanes must be a whole number from 0"),
        ({"io_type": "io_stream", "parallel_heads": 0}, "parallel_heads must be a whole number from 1"),
        ({"part": "stratix10"}, "Xilinx part"),
        ({"part": "xc7z020; rm"}, "Xilinx part"),
        ({"clock_period_ns": 0}, "0.5 to 1000"),
        ({"clock_period_ns": "10"}, "0.5 to 1000"),
        ({"clock_period_ns": float("nan")}, "0.5 to 1000"),
        ({"reuse_factor": 0}, "reuse_factor must be a whole number"),
        ({"reuse_factor": 2.0}, "whole number"),
        ({"reuse_factor": True}, "whole number"),
        ({"layer_reuse_factor": {"a": -1}}, "layer_reuse_factor of 'a'"),
        ({"layer_reuse_factor": [1]}, "must map node names"),
        ({"project_name": "my project"}, "C identifier"),
        ({"project_name": "double"}, "C identifier"),
        ({"clock": 5}, r"Unknown configuration keys \['clock'\]; known: backend"),
    ],
)
def test_refusals(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        HlsConfig.from_dict(values)


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "hls.toml"
    path.write_text('[hls]\npart = "xczu3eg-sbva484-1-e"\nreuse_factor = 4\n[hls.layer_reuse_factor]\nq = 8\n')
    assert HlsConfig.from_toml(path) == HlsConfig(
        part="xczu3eg-sbva484-1-e", reuse_factor=4, layer_reuse_factor={"q": 8}
    )
    path.write_text("backend = 'Vivado'\n")
    assert HlsConfig.from_toml(path).backend == "Vivado"
    for text, message in (
        ("[hls\n", "not valid TOML"),
        ("[hls]\nspeed = 3\n", r"\.toml: Unknown configuration keys"),
        ("hls = 3\n", r"hls must be a table, \[hls\]. Received: 3"),
        ("reuse_factor = 2\n[hls]\n[board]\n", r"keys \['board', 'reuse_factor'\] beside the \[hls\] table"),
    ):
        path.write_text(text)
        with pytest.raises(UnsupportedError, match=message):
            HlsConfig.from_toml(path)
    with pytest.raises(UnsupportedError, match="Cannot read configuration"):
        HlsConfig.from_toml(tmp_path / "missing.toml")
