"""What a bundle holds of the witness: proofs of records, each with the signed head that they lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mailwitness.witness import proofs
from mailwitness.witness.compare import iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SOURCE = "witness_comparison"


class Said(NamedTuple):
    """One statement: whether it holds, None when that cannot be told here, and its words."""

    holds: bool | None
    text: str


def statements(held: Mapping[str, bytes], sources: set[str], *, pinned: str = "") -> Iterator[Said]:
    """Yield what the proofs in a bundle confirm.

    Args:
        held: name -> content of what the case keeps of the witness.
        sources: the sources of the exhibits of the report.
        pinned: public key of the witness, hexadecimal, got by another way than the bundle.
    """
    if any(_SOURCE in source for source in sources) and not held:
        yield Said(
            holds=None,
            text="witness: the differences rest on the comparison alone, because its proofs are not in the bundle; "
            "write them into the case with --proofs CASE/witness/NAME.json",
        )
    for name in sorted(held):
        yield from _one(name, held[name], pinned.strip().lower())


def _one(name: str, content: bytes, pinned: str) -> Iterator[Said]:
    try:
        file = proofs.read(content)
    except ValueError as error:
        yield Said(holds=False, text=f"witness: {name} is no proof file: {error}")
        return
    wrong = [line.text for line in proofs.checked(file) if not line.ok]
    head = file.head
    if wrong:
        yield Said(holds=False, text=f"witness: {name}: not proved: {wrong[0]}")
        return
    text = f"{len(file.records)} records lead to the head of {head.size} records that was signed {iso(head.time_us)}"
    yield Said(holds=True, text=f"witness: {name}: {text}")
    if not pinned:
        yield Said(
            None,
            f"witness: {name}: whose key {head.key} is only its owner can tell: compare it, then give --witness-key",
        )
    elif all(line.ok for line in proofs.checked(file, pinned=pinned)):
        yield Said(holds=True, text=f"witness: {name}: its key follows from the one given")
    else:
        yield Said(
            holds=False, text=f"witness: {name}: its key {head.key} does not follow from the one given"
        )
