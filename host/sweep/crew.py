# SPDX-License-Identifier: Apache-2.0
"""Which workers a cluster has now, and what a sweep says that waits for some."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hls4attn.host.sweep.cluster import capacities
from hls4attn.host.sweep.local_cluster import TIMEOUTS
from hls4attn.host.sweep.window import Capacity, Window
from hls4attn.models.errors import ToolError

if TYPE_CHECKING:
    from distributed import Client

#: How often workers are counted, in s.
COUNT_EVERY = 1.0
#: How often a sweep that waits for workers says so, in s.
TELL_EVERY = 60.0


class Crew:
    """The workers of a cluster.

    Args:
        client: of the cluster.
        address: of its scheduler.
        tell: called with a line that the user should see.
    """

    def __init__(self, client: Client, address: str, tell: Callable[[str], None]) -> None:
        self._client, self.address, self._tell = client, address, tell
        self._counted = self._told = float("-inf")
        self._there: Sequence[Capacity] = ()

    def there(self) -> Sequence[Capacity]:
        """Threads and resources of every worker, counted now and then.

        Raises:
            ToolError: if the scheduler is gone.
        """
        now = time.monotonic()
        if now - self._counted < COUNT_EVERY:
            return self._there
        try:
            self._there = capacities(self._client)
        except (OSError, *TIMEOUTS) as error:
            raise gone(self.address, f"went away ({error})") from error
        self._counted = now
        return self._there

    def tell_waiting(self, window: Window) -> None:
        """Say what a sweep that does not go on waits for."""
        missing = [] if window.in_flight else sorted(window.missing)
        if self._there and not missing:
            self._told = float("-inf")
            return
        if time.monotonic() - self._told < TELL_EVERY:
            return
        self._told = time.monotonic()
        if not self._there:
            self._tell(f"no worker is connected to {self.address}: waiting for one (dask worker {self.address})")
        else:
            self._tell(
                f"{window.held} points wait for a worker that offers {', '.join(missing)}: dask worker {self.address} "
                f'--resources "{missing[0]}=1"'
            )


def gone(address: str, what: str) -> ToolError:
    """The error of a sweep whose scheduler is not there any more, for whoever finds out first."""
    return ToolError(f"The Dask scheduler {address} {what}; what is finished is kept: start the sweep again to go on")
