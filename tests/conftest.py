"""How the suite is shared out: tests that wait for real servers begin first, beside tests that keep the processor busy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

# How long an example takes says something of the machine, nothing of the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# They start mail servers, an object store or a witness, and wait for them most of their time.
WAITING = (
    "test_real_host",
    "test_mail_host",
    "test_object_lock",
    "test_ship",
    "test_serve",
    "test_imap",
)


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than there are cores: one of them is usually waiting."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what waits first; the order of all others stays."""
    items.sort(key=lambda item: item.path.stem not in WAITING)
