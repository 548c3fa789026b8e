# SPDX-License-Identifier: Apache-2.0
"""The Dask cluster that a sweep runs on: one of its own on this machine, or an existing one by its address."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hls4attn.host.sweep.local_cluster import TIMEOUTS, close, closing_whole, local_client, quiet
from hls4attn.models.errors import InputError, ToolError

if TYPE_CHECKING:
    from distributed import Client

#: How long a scheduler may take to answer, in s.
CONNECT_S = 10.0
_PACKAGES = ("hls4attn.models", "hls4attn.hls", "hls4attn.overlays", "hls4attn.host")
_SOURCES = {".py", ".h", ".cpp", ".v", ".sv"}


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
    with local_client(workers or len(os.sched_getaffinity(0)), resources) as client:
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
        with quiet():
            client = Client(address, timeout=CONNECT_S, set_as_default=False, name="hls4attn-sweep")
    except (OSError, *TIMEOUTS) as error:
        raise ToolError(
            f"Nothing answers at {address} within {CONNECT_S:g} s; is the Dask scheduler running there, and can this "
            "machine reach it?"
        ) from error
    except Exception as error:  # a scheduler of a very different version fails in ways of its own
        raise ToolError(f"{address} does not answer as a Dask scheduler of this version does: {error}") from error
    with ExitStack() as stack, closing_whole(stack):
        stack.callback(close, client)
        _check_versions(client, address)
        with quiet():
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
