"""How a run is done, and what it tells while it works."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mailwitness.tuning import Setting

if TYPE_CHECKING:
    from mailwitness.models import Finding


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is done; nothing here changes what is true about the evidence.

    Attributes:
        now: the clock of the run, aware UTC; verdicts can be derived again with the same clock.
        memory: limit of the database, such as ``1GB``; empty takes a quarter of the machine.
        threads: worker threads; 0 takes one for each core.
        rules: folders of further rules in Sentinel's YAML.
        watchlists: folders of watchlists with local knowledge.
        sources: folders of further sources.
        parameters: values for parameters of rules and explanations.
        fused: evaluate leading filters of all rules in one scan (the result is the same).
        proof: compute ledger and visibility: ``always``, ``never``, or ``auto`` for evidence of at most PROOF_BYTES.
    """

    now: dt.datetime
    memory: str = ""
    threads: int = 0
    rules: tuple[Path, ...] = ()
    watchlists: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    parameters: tuple[Setting, ...] = ()
    fused: bool = True
    proof: str = "auto"

    def memory_limit(self) -> str:
        """Return the database's limit with its unit."""
        if self.memory:
            return self.memory
        pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        # The rest of a run (digests, indexes, report) needs about 300 MB beside the database.
        return f"{max(512, min(pages // 4, 1200 * 1024 * 1024) // (1024 * 1024))}MB"

    def thread_count(self) -> int:
        """Return the number of worker threads."""
        return (
            self.threads or len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else self.threads or 2
        )


class Progress:
    """What a run tells while it works; the entry points subclass it."""

    def stage(self, name: str, done: int = 0, total: int = 0) -> None:
        """Say which stage runs and how far it is."""

    def first_finding(self, finding: Finding) -> None:
        """Say the first finding as soon as there is one."""
