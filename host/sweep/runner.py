# SPDX-License-Identifier: Apache-2.0
"""Many points on a Dask cluster: results as they arrive, whatever happens to a point or a worker."""

from __future__ import annotations

import queue
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hls4attn.host.sweep.cluster import check_address, code_version, open_cluster, require_dask
from hls4attn.host.sweep.crew import COUNT_EVERY, Crew, gone
from hls4attn.host.sweep.local_cluster import TIMEOUTS
from hls4attn.host.sweep.messages import LOG_BYTES
from hls4attn.host.sweep.point import MAX_TIMEOUT_S, Point, Result
from hls4attn.host.sweep.task import Task, run_task
from hls4attn.host.sweep.window import Window, affordable
from hls4attn.host.sweep.work import find_work, one_line
from hls4attn.models.errors import InputError, ToolError

if TYPE_CHECKING:
    from distributed import Client, Future

WORK = "hls4attn.host.sweep.evaluate:evaluate"
#: How long fetching a result may take, in s.
FETCH_S = 30.0


def run_points(
    points: Iterable[Point],
    *,
    work: str = WORK,
    scheduler: str | None = None,
    workers: int | None = None,
    resources: Mapping[str, float] | None = None,
    timeout_s: float = 3600.0,
    retries: int = 2,
    isolated: bool = True,
    tell: Callable[[str], None] | None = None,
) -> Generator[Result, None, None]:
    """Evaluate points; close the generator to stop: what runs is ended, what waits is cancelled.

    At most one point a thread of the workers is with the cluster; all others wait here.  A worker that dies takes its
    point with it, which starts again elsewhere; so do workers come and go.

    Args:
        points: what to evaluate, in order; all of different keys.
        work: function of the settings that gives the metrics, ``module:function``, on the workers.
        scheduler: address of an existing Dask scheduler; a cluster on this machine if not given.
        workers: processes of a cluster on this machine; one for each processor if not given.
        resources: of each of these, how much all points together may take at a time, on whatever workers; workers of a
            cluster on this machine offer them.
        timeout_s: after so many seconds the evaluation of a point is killed.
        retries: how many workers may die of a point before it counts as lost, beyond the first.
        isolated: whether each point has a process of its own; without one, a crash is the worker's death and nothing
            ends a point that hangs.
        tell: called with a line that the user should see, such as that no worker is there yet.

    Yields:
        One result a point, as they arrive.

    Raises:
        InputError: for arguments out of range, or, once it comes to it, a point that needs what a cluster on this
            machine does not offer.
        ToolError: if the scheduler cannot be reached, goes away, or a worker has another version of this package.
    """
    limits = dict(resources or {})
    check_running(timeout_s, workers, scheduler, limits)
    if not 0 <= retries <= 100:
        raise InputError(f"retries must be 0 to 100. Received: {retries}")
    if scheduler is None:
        find_work(work)
        points = affordable(points, limits)
    require_dask()
    task = Task(work, timeout_s, isolated, code_version(), uuid.uuid4().hex[:12])
    with open_cluster(scheduler, workers, limits) as client:
        crew = Crew(client, client.scheduler_info()["address"], tell or (lambda line: None))
        yield from _Run(client, crew, Window(points, limits), task, retries).results()


def check_running(
    timeout_s: float, workers: int | None, scheduler: str | None, resources: Mapping[str, float] | None
) -> None:
    """Refuse arguments of `run_points` out of range, before anything is made for them.

    Raises:
        InputError: saying which.
        ToolError: if there is a scheduler, and Dask is missing here.
    """
    if not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise InputError(f"The time limit of a point must be more than 0 s, at most 30 days. Received: {timeout_s}")
    for name, amount in (resources or {}).items():
        if not 0 < amount < 1e9:
            raise InputError(f"A resource must be a positive number. Received: {name}={amount}")
    if scheduler is not None:
        if workers is not None:
            raise InputError("A number of workers is for a cluster on this machine; that of a scheduler has its own")
        check_address(scheduler)
    if workers is not None and not 1 <= workers <= 1024:
        raise InputError(f"workers must be 1 to 1024. Received: {workers}")


class _Run:
    """One sweep on a cluster that is there."""

    def __init__(self, client: Client, crew: Crew, window: Window, task: Task, retries: int) -> None:
        self._client, self._crew, self._window, self._task, self._retries = client, crew, window, task, retries
        self._finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._there: dict[Future, Point] = {}
        self._kept: Future | None = None
        self._deaths: Counter[str] = Counter()
        self._again: Counter[str] = Counter()

    def results(self) -> Iterator[Result]:
        """All results; whatever is left when it is closed is cancelled."""
        try:
            while True:
                self._fill()
                if self._window.finished:
                    return
                self._crew.tell_waiting(self._window)
                for future in self._arrived():
                    result = self._result(future)
                    if result is not None:
                        self._fill()  # before whoever takes the result takes his time
                        yield result
        finally:
            with suppress(Exception):  # the scheduler may be gone, which is why we are here
                self._client.cancel([*self._there], force=True)

    def _fill(self) -> None:
        """Give the workers what they can run now."""
        for point in self._window.take(self._crew.there()):
            self._submit(point)

    def _submit(self, point: Point) -> None:
        task = self._task
        future = self._client.submit(
            run_task,
            dict(point.settings),
            *(task.work, task.timeout_s, task.isolated, task.version),
            key=f"hls4attn-point-{task.sweep}-{point.key}-{self._again[point.key]}",
            resources=dict(point.resources) or None,
            pure=False,
        )
        self._there[future] = point
        future.add_done_callback(self._finished.put)

    def _arrived(self) -> Iterator[Future]:
        """Futures that are done; none after a while without any."""
        try:
            yield self._finished.get(timeout=COUNT_EVERY)
            while True:
                yield self._finished.get_nowait()
        except queue.Empty:
            return

    def _result(self, future: Future) -> Result | None:
        """The result of a future that is done; None if its point has to run again."""
        point = self._there[future]
        if future.status == "finished":
            try:
                answer = future.result(timeout=FETCH_S)
            except TIMEOUTS:  # the worker that had it is gone: Dask is computing it again
                future.add_done_callback(self._finished.put)
                return None
            except Exception as error:
                answer = self._died(point, error)
        else:
            answer = self._died(point, future.exception() if future.status == "error" else None)
        del self._there[future]
        # One task is left with the cluster until the next one is done: Dask begins a new record of a kind of tasks, and
        # keeps the old one for ever, whenever it has none of them.
        self._kept, before = future, self._kept
        if before is not None:
            before.release()
        # A task that the scheduler cancelled for a moment says "unwanted"; its point is wanted all the same.
        if answer is None or answer["status"] == "unwanted":
            self._again[point.key] += 1  # the same key would be given the same answer
            self._window.again(point)
            return None
        self._window.done(point)
        del self._deaths[point.key], self._again[point.key]
        if answer["status"] == "version":
            raise ToolError(
                f"Worker {answer['worker']} has other sources of hls4attn ({answer['version']}) than this machine "
                f"({self._task.version}); install the same version in both environments"
            )
        names = ("status", "metrics", "seconds", "worker", "error", "log")
        return Result(point.key, point.settings, *(answer[name] for name in names))

    def _died(self, point: Point, error: BaseException | None) -> dict[str, Any] | None:
        """The answer for a point whose task did not end by itself; None if it has to run again."""
        from distributed import KilledWorker

        blank = {"metrics": {}, "seconds": 0.0, "log": ""}
        if isinstance(error, KilledWorker):
            self._deaths[point.key] += error.allowed_failures + 1
            deaths = self._deaths[point.key]
            if deaths <= self._retries:
                return None
            words = f"{deaths} workers died while they evaluated it"
            return blank | {"status": "lost", "error": words, "worker": str(error.last_worker.address)}
        if error is None or type(error).__name__ in {"CancelledError", "FutureCancelledError"}:
            raise gone(self._crew.address, "went away, or cancelled the sweep")
        if isinstance(error, ImportError) and "hls4attn" in str(error):
            raise ToolError(
                f"A worker of {self._crew.address} cannot import hls4attn ({error}); install the same version there"
            )
        log = "".join(traceback.format_exception(type(error), error, error.__traceback__))[-LOG_BYTES:]
        return blank | {"status": "failed", "error": one_line(error), "worker": "", "log": log}
