# SPDX-License-Identifier: Apache-2.0
"""A Dask cluster of this machine alone: it begins whole, ends whole, and says nothing of its own."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from hls4attn.host.sweep.interrupts import deaf_to_ctrl_c, interrupts_later
from hls4attn.models.errors import ToolError

if TYPE_CHECKING:
    from distributed import Client

#: How long closing each of client and cluster may take, in s.
CLOSE_S = 20.0
#: Of Dask; they are one only since Python 3.11.
TIMEOUTS = (TimeoutError, asyncio.TimeoutError)
_LOGGERS = (
    "distributed",
    "distributed.nanny",
    "distributed.worker",
    "distributed.scheduler",
    "distributed.core",
    "asyncio",
    "tornado.application",
)
#: Of Dask, for a cluster on this machine.
_SETTINGS = {
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


@contextmanager
def local_client(workers: int, resources: Mapping[str, float]) -> Iterator[Client]:
    """A client of a cluster of this machine.

    Args:
        workers: processes, of one point at a time.
        resources: Dask resources that each of them offers.

    Raises:
        ToolError: if they do not start.
    """
    with ExitStack() as stack, closing_whole(stack):
        stack.enter_context(quiet())
        try:
            with interrupts_later(), deaf_to_ctrl_c():
                client = _start(stack, workers, resources)
        except (OSError, RuntimeError, *TIMEOUTS) as error:  # no room, no processes, or no time for them
            raise ToolError(
                f"Cannot start {workers} workers on this machine ({type(error).__name__}: {error}); is it very busy, "
                "or its disk full? Try fewer --workers"
            ) from error
        yield client


def _start(stack: ExitStack, workers: int, resources: Mapping[str, float]) -> Client:
    """A client of a cluster on this machine, both closed by the stack, with the folder that they have."""
    import dask
    from distributed import Client, LocalCluster

    # Of a cluster that was slow to close, somebody may still write there.
    folder = tempfile.TemporaryDirectory(prefix="hls4attn-sweep-", ignore_cleanup_errors=True)
    place = stack.enter_context(folder)
    stack.enter_context(dask.config.set(_SETTINGS | {"temporary-directory": place}))
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        # Without an address of its own, the server of the figures would be open to the network.
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        local_directory=place,
        resources=dict(resources) or None,
        memory_limit=0,  # evaluations have processes of their own
        silence_logs=logging.CRITICAL,
    )
    stack.callback(close, cluster)
    client = Client(cluster, set_as_default=False, name="hls4attn-sweep")
    stack.callback(close, client)
    return client


def close(what: Any) -> None:
    """Close a client or a cluster; what a busy machine is slow to end is no error, and ends with this process."""
    with suppress(Exception):
        what.close(timeout=CLOSE_S)


@contextmanager
def closing_whole(stack: ExitStack) -> Iterator[None]:
    """Close what is open at the end of the block; who presses Ctrl-C again meanwhile waits for it."""
    try:
        yield
    finally:
        with interrupts_later():
            stack.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Without Dask's own messages: what concerns the user is said in our words."""
    before = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in before:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
