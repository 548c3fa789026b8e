# SPDX-License-Identifier: Apache-2.0
"""The Dask cluster that a sweep runs on: one of its own on this machine, or an existing one by its address."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import inspect
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls4attn.host.sweep.interrupts import deaf_to_ctrl_c, interrupts_later
from hls4attn.models.errors import InputError, ToolError

if TYPE_CHECKING:
    from distributed import Client

#: How long a scheduler may take to answer, in s.
CONNECT_S = 10.0
_PACKAGES = ("hls4attn.models", "hls4attn.hls", "hls4attn.overlays", "hls4attn.host")
_SOURCES = {".py", ".h", ".cpp", ".v", ".sv"}
_LOGGERS = (
    "distributed",
    "distributed.nanny",
    "distributed.worker",
    "distributed.scheduler",
    "distributed.core",
    "asyncio",
    "tornado.application",
)


def require_dask() -> None:
    """Refuse where there is no Dask.

    Raises:
        ToolError: with what to install.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ToolError('Dask is not installed: pip install "hls4attn[sweep]"') from error


@cache
def code_version() -> str:
    """Hash of this package's sources: workers with others would give results of another program."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for root in sorted(importlib.import_module(package).__path__):
            for path in sorted(p for p in Path(root).rglob("*") if p.suffix in _SOURCES):
                digest.update(f"{package}/{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def open_cluster(scheduler: str | None, workers: int | None, resources: Mapping[str, float]) -> Iterator[Client]:
    """A client of a cluster; one of our own is closed with it.

    Args:
        scheduler: address of an existing scheduler, or None for a cluster on this machine.
        workers: processes of a cluster on this machine; one for each processor that may be used if not given.
        resources: Dask resources of a cluster on this machine.

    Raises:
        ToolError: if Dask is missing, nothing answers, or its version does not fit.
    """
    require_dask()
    if scheduler is not None:
        with _existing(scheduler) as client:
            yield client
        return
    with _local(workers or len(os.sched_getaffinity(0)), resources) as client:
        yield client


def check_address(address: str) -> None:
    """Refuse what is no address; a client of Dask takes 20 s to do so.

    Raises:
        InputError: with what one looks like.
        ToolError: if Dask is missing.
    """
    require_dask()
    from distributed.comm import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    try:
        scheme, place = parse_address(address)
        get_backend(scheme)
        parse_host_port(place)
    except ValueError as error:
        raise InputError(f"{address!r} is no address of a Dask scheduler, such as tcp://10.0.0.5:8786") from error


@contextmanager
def _existing(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        with _quiet():
            client = Client(address, timeout=CONNECT_S, set_as_default=False, name="hls4attn-sweep")
    except (OSError, TimeoutError, asyncio.TimeoutError) as error:  # the last two are one only since Python 3.11
        raise ToolError(
            f"Nothing answers at {address} within {CONNECT_S:g} s; is the Dask scheduler running there, and can this "
            "machine reach it?"
        ) from error
    except Exception as error:  # a scheduler of a very different version fails in ways of its own
        raise ToolError(f"{address} does not answer as a Dask scheduler of this version does: {error}") from error
    with ExitStack() as stack, _closing_whole(stack):
        stack.callback(client.close, timeout=5)
        _check_versions(client, address)
        with _quiet():
            yield client


def _check_versions(client: Client, address: str) -> None:
    """Refuse a cluster with another Dask: the protocol differs in ways that show as strange errors later."""
    import distributed

    found: Any = client.get_versions(check=False)
    members = {f"scheduler {address}": found["scheduler"]}
    members |= {f"worker {name}": value for name, value in found["workers"].items()}
    for name, value in members.items():
        theirs = ((value or {}).get("packages") or {}).get("distributed")
        if theirs != distributed.__version__:
            raise ToolError(
                f"The {name} has distributed {theirs or 'of an unknown version'}, this machine "
                f"{distributed.__version__}; install the same in both environments"
            )


@contextmanager
def _local(workers: int, resources: Mapping[str, float]) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.scheduler.allowed-failures": 0,  # deaths are counted by the runner
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.worker.daemon": True,
        "distributed.comm.retry.count": 3,
        # What Dask remembers for its dashboard grows with points and time.
        "distributed.admin.log-length": 100,
        "distributed.admin.low-level-log-length": 100,
        "distributed.admin.system-monitor.log-length": 60,
        "distributed.diagnostics.computations.max-history": 10,
        "distributed.worker.profile.enabled": False,
    }
    with ExitStack() as stack, _closing_whole(stack):
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hls4attn-sweep-"))
        stack.enter_context(dask.config.set(settings | {"temporary-directory": folder}))
        stack.enter_context(_quiet())
        with interrupts_later(), deaf_to_ctrl_c():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                # Without an address of its own, the server of the figures would be open to the network.
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                local_directory=folder,
                resources=dict(resources) or None,
                memory_limit=0,  # evaluations have processes of their own
                silence_logs=logging.CRITICAL,
            )
            stack.callback(cluster.close, timeout=10)
            client = stack.enter_context(Client(cluster, set_as_default=False, name="hls4attn-sweep"))
        yield client


@contextmanager
def _closing_whole(stack: ExitStack) -> Iterator[None]:
    """Close what is open at the end of the block; who presses Ctrl-C again meanwhile waits for it."""
    try:
        yield
    finally:
        with interrupts_later():
            stack.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Dask's own messages: what concerns the user is said in our words."""
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def capacities(client: Client) -> list[tuple[int, Mapping[str, float]]]:
    """Threads and resources of every worker that is there now."""
    every = {"n_workers": -1} if "n_workers" in inspect.signature(client.scheduler_info).parameters else {}
    workers = client.scheduler_info(**every)["workers"].values()
    return [(int(w["nthreads"]), dict(w.get("resources") or {})) for w in workers]


def worker_name() -> str:
    """Of the Dask worker that this thread belongs to, with its machine."""
    from distributed import get_worker

    worker = get_worker()
    return f"{worker.name}@{socket.gethostname()}" if str(worker.name) != worker.address else str(worker.name)


def is_wanted() -> Callable[[], bool]:
    """Tells whether the task of this thread is still wanted: not once it was cancelled, or its client has gone."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task: Any = worker.state.tasks.get(key)
        return task is not None and task.state not in {"cancelled", "released", "forgotten"}

    return wanted
