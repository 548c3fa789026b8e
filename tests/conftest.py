# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

import signal
from collections.abc import Iterator

import pytest

#: Files with few tests that take long; were they the last ones, one processor would wait for the other.
LONG = ("test_notebooks.py", "test_docs.py", "test_cli.py", "test_char_gpt_export.py", "test_qkeras.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """A shell lets its background jobs ignore Ctrl-C, which Python keeps so; tests of an interruption would wait."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def interrupts_stay_ours() -> Iterator[None]:
    """Some packages, once imported, take Ctrl-C for themselves; tests of an interruption that follow would fail."""
    yield
    left = signal.getsignal(signal.SIGINT)
    if left is not signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        pytest.fail(f"this test left another handler of SIGINT: {left!r}")
