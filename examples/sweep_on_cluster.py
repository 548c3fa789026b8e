# SPDX-License-Identifier: Apache-2.0
"""A sweep whose workers are jobs of a batch system: SLURM, LSF or PBS, through dask-jobqueue.

    python examples/sweep_on_cluster.py examples/digits_sweep.toml --out sweep.parquet --queue slurm --jobs 8

Each job runs one Dask worker, which evaluates one point at a time.  The folder of the models, and the folder that
HLS4ATTN_CACHE names, must be shared by all nodes under one path; so must the Python environment.  `--queue local` runs
the same job scripts on this machine, to try everything out before the first job waits in a queue.

Kubernetes has no part here: apply a DaskCluster of the Dask operator with an image that has hls4attn, and name its
scheduler to the command itself: `hls4attn sweep PLAN --out FILE --scheduler tcp://NAME-scheduler:8786`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from hls4attn.host.cli import main as hls4attn

#: Batch systems and the classes that speak to them.
QUEUES = {
    "slurm": "dask_jobqueue:SLURMCluster",
    "lsf": "dask_jobqueue:LSFCluster",
    "pbs": "dask_jobqueue:PBSCluster",
    "local": "dask_jobqueue.local:LocalCluster",
}


def make_cluster(options: argparse.Namespace) -> Any:
    """A scheduler in this process, whose workers are jobs."""
    module, _, name = QUEUES[options.queue].partition(":")
    shared: dict[str, Any] = {
        "cores": 1,  # of Dask: one point at a time
        "processes": 1,
        "memory": options.memory,
        "local_directory": options.scratch,
        "python": sys.executable,
        "worker_extra_args": ["--resources", options.resources] if options.resources else [],
        "scheduler_options": {"dashboard": False, "dashboard_address": ":0"},
    }
    if options.queue == "local":  # no batch system that limits jobs, and no network
        shared["scheduler_options"] |= {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    else:
        shared |= {
            "walltime": options.walltime,
            "queue": options.partition,
            "job_script_prologue": [f"export HLS4ATTN_CACHE={os.environ['HLS4ATTN_CACHE']}"],
        }
    ctrl_c = signal.getsignal(signal.SIGINT)
    cluster = getattr(importlib.import_module(module), name)
    signal.signal(signal.SIGINT, ctrl_c)  # which the package takes for itself, to end with status 0
    return cluster(**shared)


def main() -> None:
    """Start the jobs, run the sweep on them, end them."""
    parser = argparse.ArgumentParser(description="A sweep whose workers are jobs of a batch system.")
    parser.add_argument("plan", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="file of results, .parquet or .sqlite")
    parser.add_argument("--queue", choices=QUEUES, default="slurm")
    parser.add_argument("--jobs", type=int, default=2, help="workers, one a job")
    parser.add_argument("--memory", default="4GB", help="of one job")
    parser.add_argument("--walltime", default="04:00:00", help="of one job; a point that it ends starts again")
    parser.add_argument("--partition", help="queue or partition of the batch system")
    parser.add_argument("--scratch", default="/tmp", help="folder on a node")
    parser.add_argument("--resources", help="what each worker offers, such as vivado=1")
    options, rest = parser.parse_known_args()
    if options.queue != "local" and not os.environ.get("HLS4ATTN_CACHE"):
        parser.error("set HLS4ATTN_CACHE to a folder that all nodes share")
    with make_cluster(options) as cluster:
        cluster.scale(jobs=options.jobs)
        # Other options are the command's own: --json, --chart, --timeout, --limit ...
        scheduler = ["--scheduler", cluster.scheduler_address]
        hls4attn(["sweep", str(options.plan), "--out", str(options.out), *scheduler, *rest])


if __name__ == "__main__":
    main()
