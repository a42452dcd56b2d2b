"""Write rules for other products: Sentinel's YAML and ARM templates, and Sigma."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mailwitness.content import loader, schemas
from mailwitness.content.foreign import load as foreign
from mailwitness.errors import ConfigError
from mailwitness.rule_export import sentinel, sigma


def sentinel_rules(out: Path, *, form: Literal["yaml", "arm"], folders: list[Path]) -> sentinel.Exported:
    """Write the shipped rules and chains, and those of further folders, for Sentinel.

    Raises:
        MailwitnessError: the folder cannot be written, or a folder of rules cannot be read.
    """
    return sentinel.export(_rules(folders), out, form=form)


def sigma_rules(out: Path, *, folders: list[Path]) -> sentinel.Exported:
    """Write the rules that Sigma has words for, and say of the others why it has none.

    Raises:
        MailwitnessError: as sentinel_rules.
    """
    done = sentinel.Exported()
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, rule in _rules(folders):
            try:
                text = sigma.as_sigma(rule)
            except sigma.NotInSigmaError as reason:
                done.left_out.append(f"rule {name}: {reason}")
                continue
            (out / f"{name}.yml").write_text(text, encoding="utf-8")
            done.files.append(f"{name}.yml")
    except OSError as error:
        message = f"the folder cannot be written ({error.strerror})"
        raise ConfigError(message, place=str(out), remedy="Name another folder.") from error
    return done


def _rules(folders: list[Path]) -> list[tuple[str, schemas.Rule]]:
    """Return the shipped rules and those of further folders, with the names of their files."""
    given = [(item.file.stem, item.rule) for item in foreign.load(*folders).accepted]
    return [(path.stem, rule) for path, rule in loader.rules()] + given
