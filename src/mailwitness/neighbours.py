"""What lies beside an exhibit, under the names that it had before it was sealed: members of an archive keep no such names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mailwitness.models import Exhibit

_SQLITE = b"SQLite format 3\x00"
# The two byte orders of a write-ahead log, and the version at the start of its index (sqlite.org/walformat.html).
_LOG_STARTS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_INDEX_STARTS = (b"\x18\xe2\x2d\x00", b"\x00\x2d\xe2\x18")


class Neighbours:
    """All exhibits of a run by the names shown to people."""

    def __init__(
        self, exhibits: Iterable[Exhibit] = (), others: Mapping[str, list[str]] | None = None
    ) -> None:
        """Take the exhibits, and by their ids the further places at which the same bytes lie."""
        self.others = dict(others or {})
        self._at: dict[str, Path] = {}
        for exhibit in exhibits:
            for name in (exhibit.path, *self.others.get(exhibit.id, [])):
                self._at.setdefault(name, exhibit.location)

    def beside(self, exhibit: Exhibit, suffix: str) -> Path | None:
        """Return where the bytes of ``<name><suffix>`` are, or None when no such exhibit was given."""
        return self._at.get(exhibit.path + suffix)

    def database_of(self, exhibit: Exhibit, head: bytes) -> str:
        """Return the name of the database that a write-ahead log or its index belongs to; empty for any other file.

        Name, content and a database beside it have to agree: else evidence could be hidden under such a name.
        """
        for suffix, starts in (("-wal", _LOG_STARTS), ("-shm", _INDEX_STARTS)):
            name = exhibit.path.removesuffix(suffix)
            if name == exhibit.path or name not in self._at or (head and not head.startswith(starts)):
                continue
            with self._at[name].open("rb") as handle:
                if handle.read(len(_SQLITE)) == _SQLITE:
                    return name
        return ""
