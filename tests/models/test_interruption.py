# SPDX-License-Identifier: Apache-2.0
"""Whatever ends work from outside arrives as KeyboardInterrupt, and nothing stays changed."""

import os
import signal
import sys
import threading

import pytest

from hls4attn.models.interruption import interruptible

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(params=SIGNALS)
def number(request):
    before = signal.getsignal(request.param)
    yield request.param
    signal.signal(request.param, before)


def leave(*_):
    """What dask_jobqueue makes of Ctrl-C."""
    sys.exit()


def test_signals_interrupt_whoever_listened_before(number):
    signal.signal(number, leave)
    with pytest.raises(KeyboardInterrupt), interruptible():
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 5)
    assert signal.getsignal(number) is leave


def test_signals_that_are_ignored_stay_so(number):
    signal.signal(number, signal.SIG_IGN)
    with interruptible():
        os.kill(os.getpid(), number)
        assert signal.getsignal(number) is signal.SIG_IGN
    assert signal.getsignal(number) is signal.SIG_IGN


def test_other_threads_leave_signals_alone():
    seen = []

    def work():
        with interruptible():
            seen.extend(signal.getsignal(number) for number in SIGNALS)

    before = [signal.getsignal(number) for number in SIGNALS]
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before
