"""The exhibits of a run: what was given, sealed, and the name by which the case knows it."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness.errors import MailwitnessError
from mailwitness.evidence import containers, seal, walk
from mailwitness.evidence.names import display_name
from mailwitness.evidence.opening import Refused
from mailwitness.models import Exhibit, NotEvaluated
from mailwitness.snapshots import taking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailwitness.early import Early
    from mailwitness.evidence.custody import CustodyLog
    from mailwitness.evidence.store import CaseFolder
    from mailwitness.run_settings import Progress, Settings


class Exhibits:
    """Everything that was given to one run, and to earlier ones of the same case.

    Attributes:
        listed: the exhibits in the order of their names.
        given: the paths they come from.
        others: by exhibit, further places at which the same bytes lie.
        not_evaluated: what could not be taken in.
    """

    def __init__(
        self, folder: CaseFolder, log: CustodyLog, settings: Settings, progress: Progress, early: Early
    ) -> None:
        """Take in nothing yet."""
        self.folder = folder
        self.log = log
        self.settings = settings
        self.progress = progress
        self.early = early
        self.listed: list[Exhibit] = []
        self.given: list[Path] = []
        self.others: dict[str, list[str]] = {}
        self.not_evaluated: list[NotEvaluated] = []
        # Evidence may hold a hundred thousand files: none of them is compared with all others.
        self._taken: set[tuple[str, str]] = set()
        self._by_digest: dict[str, Exhibit] = {}
        self._known: dict[tuple[str, str], str] = {}
        self._named: dict[tuple[str, str], str] = {}
        self._last_number = 0
        self._digests: dict[str, Future[str]] = {}
        self._sealed: dict[str, seal.Sealed] = {}

    def take_in(self, paths: list[Path]) -> list[Exhibit]:
        """Seal every input and give it its name within the case; the same bytes keep their name."""
        described = self.folder.description()
        earlier = list(described.get("exhibits", []))
        self._known = {(item["blake3"], item["path"]): item["id"] for item in earlier}
        self._named = {(item["blake3"], item["location"]): item["path"] for item in earlier}
        self._last_number = max((int(name[1:]) for name in self._known.values()), default=0)
        self.progress.stage("sealing")
        paths = list(dict.fromkeys([*paths, *taking.files(self.folder.path)]))
        self.given = [*paths, *_still_there(earlier, paths)]
        found = list(walk.collect(self.given, exclude=[self.folder.path]))
        for sealed in seal.seal(
            found,
            self.log,
            now=self.settings.now,
            threads=self.settings.thread_count(),
            watch=self.early.lines.watch,
            begun=self.early.measured,
        ):
            self.progress.stage("sealing", len(self.listed), len(found))
            self._open(sealed)
        # Evidence that was added later comes later, in this run and in one that repeats it.
        self.listed.sort(key=lambda exhibit: int(exhibit.id[1:]))
        self._describe(described, paths)
        return self.listed

    def _open(self, sealed: seal.Sealed | Refused) -> None:
        """Take a file in, or what is in it when it is an archive."""
        if isinstance(sealed, Refused):
            self._refuse(sealed)
        elif containers.kind_of(sealed) is None:
            self._take(sealed)
        else:
            for member in containers.expand(
                sealed, self.folder.originals, containers.Limits(), self.log, now=self.settings.now
            ):
                if isinstance(member, Refused):
                    self._refuse(member)
                else:
                    self._take(member.sealed, member)

    def _describe(self, described: Mapping[str, Any], paths: list[Path]) -> None:  # Any: case.json
        """Write into the case what it was made from: a run that repeats it is given the same."""
        listed = [
            {
                "id": e.id,
                "path": e.path,
                "blake3": e.blake3,
                "location": str(e.location),
                "size_bytes": e.size_bytes,
                "kept": e.kept,
            }
            for e in self.listed
        ]
        given = list(dict.fromkeys([*described.get("given", []), *(str(path.absolute()) for path in paths)]))
        self.folder.describe(
            exhibits=listed,
            given=given,
            rules=[str(path.absolute()) for path in self.settings.rules],
            proof=self.settings.proof,
            watchlists=[str(path.absolute()) for path in self.settings.watchlists],
            sources=[str(path.absolute()) for path in self.settings.sources],
            others=self.others,
            parameters=msgspec.to_builtins(self.settings.parameters),
        )

    def _take(self, sealed: seal.Sealed, member: containers.Member | None = None) -> None:
        # The same bytes at the same place keep the name by which they were first given, and with it their number.
        place = (sealed.blake3, str(sealed.path.absolute()))
        shown = self._named.get(place) or self._shown(sealed.display_name)
        key = (sealed.blake3, shown)
        if key in self._taken:
            return
        same = self._by_digest.get(sealed.blake3)
        if same is not None:
            self.others.setdefault(same.id, []).append(shown)
            self._taken.add(key)
            return
        if key not in self._known:
            self._last_number += 1
            self._known[key] = f"E{self._last_number}"
        name = self._known[key]
        exhibit = Exhibit(
            id=name,
            path=shown,
            location=sealed.path.absolute(),
            size_bytes=sealed.size_bytes,
            blake3=sealed.blake3,
            kept=member is not None,
        )
        self.listed.append(exhibit)
        self._taken.add(key)
        if exhibit.size_bytes:
            self._by_digest[exhibit.blake3] = exhibit
        self._digests[name] = sealed.sha256
        if member is not None and (member.truncated or member.notes):
            reason = "; ".join(member.notes) or "its end is missing"
            self.not_evaluated.append(
                NotEvaluated(
                    what=shown,
                    reason=reason,
                    remedy="Get the archive from its source again.",
                    blocking=member.truncated,
                )
            )
        self._sealed[name] = sealed

    def _shown(self, name: str) -> str:
        """Return a path from the given file or folder on: the same wherever a run is repeated."""
        for path in self.given:
            full = display_name(path)
            if name == full or name.startswith(full.rstrip("/") + "/"):
                return display_name(path.absolute().name or "root") + name[len(full.rstrip("/")) :]
        return name

    def _refuse(self, refused: Refused) -> None:
        self.not_evaluated.append(
            NotEvaluated(
                what=self._shown(refused.display_name),
                reason=refused.reason,
                remedy=refused.remedy,
                blocking=refused.blocking,
            )
        )

    def confirm(self) -> list[NotEvaluated]:
        """Wait for the SHA-256 of every exhibit; one that changed meanwhile is no evidence, and is returned."""
        changed: list[NotEvaluated] = []
        for exhibit in self.listed:
            try:
                self._digests[exhibit.id].result()
                self._sealed[exhibit.id].ensure_unchanged()
            except MailwitnessError as error:
                self._digests[exhibit.id] = _ready("")
                changed.append(
                    NotEvaluated(what=exhibit.path, reason=error.message, remedy=error.remedy, blocking=True)
                )
        return changed

    def sha256(self) -> dict[str, str]:
        """Return the SHA-256 of each exhibit by its id; empty for one that changed."""
        return {name: digest.result() for name, digest in self._digests.items()}

    def same(self, placed: set[str]) -> list[NotEvaluated]:
        """Say which inputs were left out because their bytes are an exhibit already."""
        return [
            NotEvaluated(
                what=name,
                reason=f"the same bytes are already exhibit {exhibit.id} ({exhibit.path})",
                remedy="Nothing is lost; leave one of them out.",
            )
            for exhibit in self.listed
            if exhibit.id not in placed
            for name in self.others.get(exhibit.id, [])
        ]


def _still_there(earlier: list[dict[str, Any]], paths: list[Path]) -> list[Path]:  # Any: case.json
    """Return originals of earlier runs that were not given again: a case grows, it does not shrink."""
    given = {path.resolve() for path in paths}
    locations = [Path(item["location"]) for item in earlier if not item["kept"]]
    return [
        path
        for path in locations
        if path.exists() and not any(path.resolve().is_relative_to(g) for g in given)
    ]


def _ready(value: str) -> Future[str]:
    done: Future[str] = Future()
    done.set_result(value)
    return done
