# SPDX-License-Identifier: Apache-2.0
"""What a Dask worker does for one point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hls4attn.host.sweep.child import run_child
from hls4attn.host.sweep.cluster import code_version, is_wanted, worker_name
from hls4attn.host.sweep.work import run_work


@dataclass(frozen=True)
class Task:
    """What is the same for all points of a sweep.

    Attributes:
        work: function of the settings, ``module:function``.
        timeout_s: seconds that a point may take.
        isolated: whether each point has a process of its own.
        version: of the sources that a worker must have.
        sweep: name of the sweep among those of the cluster.
    """

    work: str
    timeout_s: float
    isolated: bool
    version: str
    sweep: str


def run_task(settings: Mapping[str, Any], work: str, timeout_s: float, isolated: bool, version: str) -> dict[str, Any]:
    """What a worker does for a point; answers as `run_child`, with ``worker``, or ``version`` if that is another."""
    name = worker_name()
    if code_version() != version:
        return {"status": "version", "version": code_version(), "worker": name}
    answer = run_child(work, settings, timeout_s, is_wanted()) if isolated else run_work(work, settings)
    return {"log": "", **answer, "worker": name}
