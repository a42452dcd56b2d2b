"""Recognise sealed inputs and load their records; every record is loaded, a duplicate, or in quarantine."""

from mailwitness.sources.counts import Tally
from mailwitness.sources.intake import Intake

__all__ = ["Intake", "Tally"]
