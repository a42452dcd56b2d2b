"""Settings of a run: flags first, then the TOML file, then defaults. Secrets never live here."""

from __future__ import annotations

import datetime as dt
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import tuning
from mailwitness.errors import ConfigError
from mailwitness.pipeline import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# A database URL holds a password: it comes from the environment, never from a file.
_DATABASE = "MAILWITNESS_DATABASE"
_DEFAULT_FILE = Path("mailwitness.toml")
_DEFAULT_CASE = Path("mailwitness-case")
_PROOF = ("auto", "always", "never")
_MEMORY = re.compile(r"^\d+(?:\.\d+)?\s*(?:[KMGT]i?B|%)$", re.IGNORECASE)


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the TOML file may hold; every key is also a flag."""

    case: str | None = None
    rules: list[str] | dict[str, Any] | None = None  # Any: folders, and a table of parameters for each rule
    watchlists: list[str] | None = None
    sources: list[str] | None = None
    memory: str | None = None
    threads: int | None = None
    now: str | None = None
    proof: str | None = None


class Chosen(msgspec.Struct, frozen=True):
    """The settings in force."""

    case: Path
    run: Settings


def settings(  # noqa: PLR0913 - one for each flag
    config: Path | None,
    *,
    case: Path | None,
    rules: list[Path] | None,
    watchlists: list[Path] | None = None,
    sources: list[Path] | None = None,
    parameters: list[str] | None = None,
    memory: str | None,
    threads: int | None,
    now: str | None,
    proof: str | None = None,
) -> Chosen:
    """Return the settings in force.

    Raises:
        ConfigError: the file or a value is wrong.
    """
    file = _read(config)
    limit = memory or file.memory or ""
    if limit and not _MEMORY.match(limit):
        raise ConfigError(
            f"{limit!r} is not an amount of memory", place="--memory", remedy="Write for example 1GB."
        )
    count = threads if threads is not None else file.threads or 0
    if count < 0:
        raise ConfigError(f"{count} is not a number of threads", place="--threads", remedy="Write 1 or more.")
    folders = _folders("rules", rules, _rule_folders(file))
    lists = _folders("watchlists", watchlists, file.watchlists or [])
    # What is set on the command line comes last, and wins.
    chosen = (*_file_parameters(file), *(tuning.parse(text) for text in parameters or []))
    return Chosen(
        case or Path(file.case or _DEFAULT_CASE),
        Settings(
            now=clock(now or file.now),
            memory=limit,
            threads=count,
            rules=folders,
            watchlists=lists,
            sources=_folders("sources", sources, file.sources or []),
            parameters=chosen,
            proof=_proof(proof or file.proof or "auto"),
        ),
    )


def _folders(kind: str, given: list[Path] | None, in_file: list[str]) -> tuple[Path, ...]:
    folders = tuple(given or [Path(name) for name in in_file])
    for folder in folders:
        if not folder.exists():
            raise ConfigError(
                f"there is no such folder of {kind}", place=str(folder), remedy="Correct the path."
            )
    return folders


def _rule_folders(file: File) -> list[str]:
    """Return the folders: ``rules = [...]``, or ``folders = [...]`` in the table ``[rules]``."""
    listed = file.rules.get("folders", []) if isinstance(file.rules, dict) else file.rules or []
    if not isinstance(listed, list):
        raise ConfigError(
            "rules.folders is no list", place=str(_DEFAULT_FILE), remedy='Write folders = ["path"].'
        )
    return [str(name) for name in listed]


def _file_parameters(file: File) -> Iterator[tuning.Setting]:
    """Yield the parameters of the tables ``[rules."<id or name>"]``."""
    for rule, values in (file.rules if isinstance(file.rules, dict) else {}).items():
        if rule == "folders":
            continue
        if not isinstance(values, dict):
            raise ConfigError(
                f"rules.{rule!r} is no table of parameters",
                place=str(_DEFAULT_FILE),
                remedy="See docs/how-to/tune-rules.md.",
            )
        yield from (tuning.setting(rule, name, value) for name, value in values.items())


def _proof(word: str) -> str:
    if word not in _PROOF:
        raise ConfigError(
            f"{word!r} is no choice",
            place="--proof",
            remedy=f"Write {', '.join(_PROOF[:-1])} or {_PROOF[-1]}.",
        )
    return word


def _read(config: Path | None) -> File:
    path = config or _DEFAULT_FILE
    if config is None and not path.exists():
        return File()
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), File)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(str(error), place=str(path), remedy="See docs/reference/settings.md.") from error


def database() -> str:
    """Return the database URL of the case book from the environment; empty means the case folder.

    Raises:
        ConfigError: it is no URL.
    """
    url = os.environ.get(_DATABASE, "")
    if url and "://" not in url:
        raise ConfigError(
            "it is no database URL",
            place=_DATABASE,
            remedy="Write for example postgresql+psycopg://user:password@host/name.",
        )
    return url


def clock(text: str | None) -> dt.datetime:
    """Return the run's clock as aware UTC; this is the only place that reads the real one.

    Raises:
        ConfigError: the text is no ISO 8601 time.
    """
    if not text:
        return dt.datetime.now(dt.UTC).replace(microsecond=0)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is not a time", place="--now", remedy="Write 2026-03-02T09:00:00Z."
        ) from error
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
