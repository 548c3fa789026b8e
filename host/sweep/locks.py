# SPDX-License-Identifier: Apache-2.0
"""One process at a time, for what several evaluations share through the cache."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hls4attn.hls.compiler import cache_dir
from hls4attn.models.errors import ToolError


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Wait until no other process of this machine or of a shared folder is at the same thing.

    The lock ends with the process that holds it, however that ends.

    Args:
        what: the thing, in any words.

    Raises:
        ToolError: if the cache takes no locks.
    """
    path = cache_dir() / "sweep" / "locks" / hashlib.sha256(what.encode()).hexdigest()[:32]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise _refused(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise _refused(path, error) from error
        yield


def _refused(path: Path, error: OSError) -> ToolError:
    return ToolError(
        f"Cannot lock {path}: {error.strerror}; set HLS4ATTN_CACHE to a folder that can be written and takes locks"
    )
