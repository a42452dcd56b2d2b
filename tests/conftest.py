"""How the suite is shared out: tests that wait for real servers begin first, beside tests that keep the processor busy."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from hypothesis import settings

from mailwitness.start import VALUES_BEFORE_A_SEARCH

if TYPE_CHECKING:
    import pytest

# As the program does for itself: the thousands of tests that are collected all stay, and no search among them finds a circle.
gc.set_threshold(VALUES_BEFORE_A_SEARCH, 20, 50)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Tests start the program over a hundred times; without this each start would compile its modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

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
