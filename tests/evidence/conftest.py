from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from mailwitness.evidence.custody import CustodyLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = dt.datetime(2026, 3, 1, 9, 0, tzinfo=dt.UTC)


@pytest.fixture
def now() -> dt.datetime:
    return NOW


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CustodyLog]:
    opened = CustodyLog(
        tmp_path / "custody.jsonl", now=NOW, tool="mailwitness test", operator="kim", host="lab-1"
    )
    yield opened
    opened.close()
