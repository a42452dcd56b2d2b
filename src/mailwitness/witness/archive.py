"""Copies elsewhere: closed segments and heads go to a folder on another disk or to a bucket that refuses to delete them.

A copy is written under its name once. What leaves is encrypted when age recipients are configured; the witness cannot read it again
then, and needs no key to.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mailwitness.errors import ConfigError, WitnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailwitness.witness.config import S3, Witness


class Target(Protocol):
    """A place for copies."""

    def put(self, name: str, content: bytes, *, now: dt.datetime) -> None:
        """Write a copy under a name that is never used again."""


class Folder:
    """A folder, better on another disk or mounted from another host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: bytes, *, now: dt.datetime) -> None:  # noqa: ARG002 - as S3 needs it
        """Write a copy; the same content under the same name is a repetition, other content is refused.

        Raises:
            WitnessError: another copy has this name.
        """
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if path.read_bytes() == content:
                return
            raise WitnessError(
                "another copy has this name already",
                place=str(path),
                remedy="Archive to a folder of its own.",
            )
        temporary = path.with_name(path.name + ".new")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)


class Bucket:
    """A bucket with Object Lock: each object is written in COMPLIANCE mode with a date until which it stays.

    Source: Amazon S3 API reference, PutObject; Object Lock needs Content-MD5 or a checksum, and versioning keeps what is overwritten.

    Raises:
        ConfigError: boto3 is not installed.
    """

    def __init__(self, settings: S3) -> None:
        try:
            import boto3  # noqa: PLC0415 - optional, and slow to import
        except ImportError as error:
            raise ConfigError(
                "copies to S3 need boto3", place="s3", remedy="Install mailwitness[witness]."
            ) from error
        self._settings = settings
        self._is_proved = False
        # Any: boto3 makes its clients while running
        self._client: Any = boto3.client(
            "s3", endpoint_url=settings.endpoint or None, region_name=settings.region or None
        )

    def put(self, name: str, content: bytes, *, now: dt.datetime) -> None:
        """Write an object that nobody can delete before the retention has passed.

        Raises:
            WitnessError: the bucket refused, keeps objects without a lock, or cannot be reached.
        """
        until = now + dt.timedelta(days=self._settings.retention_days)
        try:
            written = self._client.put_object(
                Bucket=self._settings.bucket,
                Key=self._settings.prefix + name,
                Body=content,
                ContentMD5=base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
                ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=until,
            )
            if not self._is_proved:
                self._is_proved = self._is_locked(name, str(written.get("VersionId", "")), until)
        except Exception as error:
            # boto3 makes its exceptions while running; they share no type with a meaning.
            raise WitnessError(
                f"the bucket did not take {name}: {error}",
                place=self._settings.bucket,
                remedy="Check that the bucket exists with Object Lock and that the account may put objects.",
            ) from error
        if not self._is_proved:
            raise WitnessError(
                f"the bucket took {name}, but does not say that it is locked until {until.isoformat()}",
                place=self._settings.bucket,
                remedy="Use a bucket with Object Lock, and let the account read the retention of objects.",
            )

    def _is_locked(self, name: str, version: str, until: dt.datetime) -> bool:
        """Ask the store whether it keeps to what it was asked for: some take the words and lock nothing."""
        if not version:
            return False
        key = self._settings.prefix + name
        found = self._client.head_object(Bucket=self._settings.bucket, Key=key, VersionId=version)
        date = found.get("ObjectLockRetainUntilDate")
        # Stores keep whole seconds, or milliseconds.
        return (
            found.get("ObjectLockMode") == "COMPLIANCE"
            and bool(date)
            and date > until - dt.timedelta(seconds=1)
        )


def encryption(recipients: Sequence[str]) -> Callable[[bytes], bytes] | None:
    """Return what encrypts to all recipients, or None without recipients.

    Raises:
        ConfigError: a recipient is none, or pyrage is not installed.
    """
    if not recipients:
        return None
    try:
        import pyrage  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ConfigError(
            "encrypting needs pyrage", place="age_recipients", remedy="Install mailwitness[witness]."
        ) from error
    try:
        keys = [pyrage.x25519.Recipient.from_str(text) for text in recipients]
    except Exception as error:  # pyrage's own type
        raise ConfigError(
            f"this is no age recipient: {error}", place="age_recipients", remedy="Write age1..."
        ) from error

    def encrypt(content: bytes) -> bytes:
        return bytes(pyrage.encrypt(content, keys))

    return encrypt


class Archive:
    """Takes closed segments and heads to all targets; what a target did not take is tried again.

    ``archived`` in the store holds the names that are done, one on a line.
    """

    def __init__(
        self, store: Path, targets: Sequence[Target], encrypt: Callable[[bytes], bytes] | None
    ) -> None:
        self._store, self._targets, self._encrypt = store, targets, encrypt
        self._done = store / "archived"

    def copy(self, *, now: dt.datetime) -> list[str]:
        """Copy what is closed and not yet copied; the last segment is not closed.

        Returns:
            Why something could not be copied; empty when all is done.
        """
        done = set(self._done.read_text("utf-8").splitlines()) if self._done.exists() else set()
        closed = sorted(self._store.glob("segments/*.seg"))[:-1]
        problems = []
        for path in closed:
            if path.name not in done:
                problems += self.put(f"segments/{path.name}", path.read_bytes(), now=now)
                if problems:
                    break
                with self._done.open("a", encoding="utf-8") as file:
                    file.write(f"{path.name}\n")
        return problems

    def put(self, name: str, content: bytes, *, now: dt.datetime) -> list[str]:
        """Copy one thing to all targets; returns why a target did not take it."""
        problems = []
        if self._encrypt:
            # age makes other bytes of the same content each time; the name must tell them apart.
            content = self._encrypt(content)
            name = f"{name}.{hashlib.sha256(content).hexdigest()[:16]}.age"
        for target in self._targets:
            try:
                target.put(name, content, now=now)
            except (WitnessError, OSError) as error:
                problems.append(str(error))
        return problems


def archive(settings: Witness) -> Archive | None:
    """Return the archive of a configuration, or None when none is configured.

    Raises:
        ConfigError: a target or recipient cannot be used.
    """
    targets: list[Target] = []
    if settings.archive:
        targets.append(Folder(Path(settings.archive)))
    if settings.s3:
        targets.append(Bucket(settings.s3))
    if not targets:
        return None
    return Archive(Path(settings.folder), targets, encryption(settings.age_recipients))
