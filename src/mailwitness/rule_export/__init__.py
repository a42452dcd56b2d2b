"""Write rules for other products: Sentinel's YAML and ARM templates."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mailwitness.content import loader
from mailwitness.content.foreign import load as foreign
from mailwitness.rule_export import sentinel


def sentinel_rules(out: Path, *, form: Literal["yaml", "arm"], folders: list[Path]) -> sentinel.Exported:
    """Write the shipped rules and chains, and those of further folders, for Sentinel.

    Raises:
        MailwitnessError: the folder cannot be written, or a folder of rules cannot be read.
    """
    rules = [(path.stem, rule) for path, rule in loader.rules()]
    rules += [(item.file.stem, item.rule) for item in foreign.load(*folders).accepted]
    return sentinel.export(rules, out, form=form)
