"""XML from strangers, read element by element: no entities, no document types, no external files, bounded depth and text.

expat is told to refuse what makes XML dangerous: a DOCTYPE (entity bombs, external entities) ends the reading as damage. What
was read before stays, and after damage reading goes on at the next element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.parsers import expat

import msgspec

from mailwitness.readers.blocks import Damage
from mailwitness.readers.file_view import FileView

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

_MOST_DEPTH = 200
_FEED_BYTES = 1 << 16
# One element with everything in it: a transport rule collection is the largest known, below 10 MB.
_MOST_CHARACTERS = 32 * 1024 * 1024


class Element(msgspec.Struct):
    """An element with its attributes, its own text and its children; names come without namespace."""

    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Element] = []

    def find(self, name: str) -> Element | None:
        """Return the first child of a name."""
        return next((child for child in self.children if child.name == name), None)


class Placed(msgspec.Struct, frozen=True):
    """A complete element with the bytes it stands in."""

    element: Element
    offset: int
    length: int
    line: int
    is_whole: bool = True


class _Refused(Exception):
    """Say what the text has that we do not read."""


class _Builder:
    """Collect wanted elements while expat walks the text."""

    def __init__(
        self, is_wanted: Callable[[str, int], bool], encoding: str | None, start: int, line: int, root: str
    ) -> None:
        """Keep elements for which ``is_wanted(name, depth)`` holds, with all that is inside them.

        Reading begins at byte ``start``, after ``line`` line ends, inside an element ``root`` when that is not empty.
        """
        self.start = start
        self.root = ""
        self.open_at = -1
        self._line = line
        self._prefix = f"<{root}>".encode() if root else b""
        self.done: list[Placed] = []
        self.depth = 0
        self._is_wanted = is_wanted
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._characters = 0
        self._begun = (0, 0)
        self.parser = expat.ParserCreate(encoding, namespace_separator="}")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters_found
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.ExternalEntityRefHandler = self._refuse
        # Internal entities too would need a DOCTYPE, which is refused first; this is the second lock.
        self.parser.UnparsedEntityDeclHandler = self._refuse

    def _refuse(
        self, *_: object
    ) -> Any:  # Any: each of expat's handlers promises another type, and this one never returns  # noqa: ANN401 - a value of a foreign library
        raise _Refused("it declares a document type or entities, which are not read")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise _Refused(f"its elements are nested deeper than {_MOST_DEPTH}")
        plain = name.rpartition("}")[2]
        self.root = self.root or plain
        if not self._open and not self._is_wanted(plain, self.depth):
            return
        if not self._open:
            self._begun = (self._offset(), self._line + self.parser.CurrentLineNumber)
            self.open_at = self._begun[0]
            self._characters = 0
        element = Element(plain, {key.rpartition("}")[2]: value for key, value in attributes.items()}, "", [])
        self._count(sum(len(value) for value in attributes.values()) + len(plain))
        if self._open:
            self._open[-1].children.append(element)
        self._open.append(element)
        self._texts.append([])

    def _characters_found(self, text: str) -> None:
        if self._open:
            self._count(len(text))
            self._texts[-1].append(text)

    def _count(self, number: int) -> None:
        self._characters += number
        if self._characters > _MOST_CHARACTERS:
            raise _Refused("one element is larger than 32 MiB")

    def _end(self, name: str) -> None:
        self.depth -= 1
        if not self._open:
            return
        element = self._open.pop()
        element.text = "".join(self._texts.pop())
        if not self._open:
            # expat stands at the end tag; its length is that of the name with </ and >, blanks aside.
            offset, line = self._begun
            end = self._offset() + len(name.rpartition("}")[2].encode()) + 3
            self.open_at = -1
            self.done.append(Placed(element, offset, max(1, end - offset), line))

    def _offset(self) -> int:
        return max(0, self.parser.CurrentByteIndex - len(self._prefix)) + self.start

    def feed(self, block: bytes, *, is_last: bool) -> None:
        """Read the next bytes."""
        if self._prefix and self.depth == 0 and not self.root:
            self.parser.Parse(self._prefix, False)  # noqa: FBT003 - expat's own signature
        self.parser.Parse(block, is_last)

    def taken(self) -> list[Placed]:
        """Return the elements completed since the last call."""
        done, self.done = self.done, []
        return done

    def partial(self, stop: int) -> Placed | None:
        """Return the element that is still open, with what of it was read; None when none is."""
        if not self._open:
            return None
        for element, texts in zip(self._open, self._texts, strict=True):
            element.text = "".join(texts)
        offset, line = self._begun
        return Placed(self._open[0], offset, stop - offset, line, is_whole=False)

    def damage(self, reason: str) -> Damage:
        """Return the place at which reading stopped."""
        return Damage(self._offset(), 0, self._line + self.parser.CurrentLineNumber, reason)


def elements(path: Path, is_wanted: Callable[[str, int], bool], resume: bytes) -> Iterator[Placed | Damage]:
    """Yield the wanted elements of a file in order, and what is damaged between them.

    After damage, reading goes on where ``resume`` comes next; of the element that the damage is in, what was complete is given as
    an element that is not whole.

    Args:
        path: the file; text that is UTF-8 is read as such, whatever its first line declares.
        is_wanted: told the element's name without namespace and its depth (the root has 1).
        resume: bytes with which a wanted element begins.
    """
    size = path.stat().st_size
    if not size:
        return
    with path.open("rb", buffering=0) as handle:
        view = FileView(handle)
        start, line, root = 0, 0, ""
        while 0 <= start < size:
            builder = _Builder(is_wanted, _encoding(view), start, line, root)
            end = yield from _until_damage(builder, view, size)
            if end is None:
                return
            root = builder.root or "root"
            following = view.find(resume, max(end.offset, builder.open_at + 1, start + 1))
            stop = following if following >= 0 else size
            partial = builder.partial(stop)
            yield (
                partial
                if partial is not None
                else Damage(end.offset, max(0, stop - end.offset), end.line, end.reason)
            )
            line += view[start:stop].count(b"\n")
            start = following


def _until_damage(builder: _Builder, view: FileView, size: int) -> Generator[Placed, None, Damage | None]:
    try:
        for at in range(builder.start, size, _FEED_BYTES):
            builder.feed(view[at : at + _FEED_BYTES], is_last=at + _FEED_BYTES >= size)
            yield from builder.taken()
    except _Refused as error:
        yield from builder.taken()
        return builder.damage(str(error))
    except (expat.ExpatError, ValueError) as error:
        yield from builder.taken()
        return builder.damage(f"the XML cannot be read on: {error}")
    return None


def _encoding(view: FileView) -> str | None:
    try:
        view[: 1 << 20].decode("utf-8")
    except UnicodeDecodeError as error:
        # A character cut by the end of the piece is no fault of the text.
        return "utf-8" if error.start > min(len(view), 1 << 20) - 4 else None
    return "utf-8"
