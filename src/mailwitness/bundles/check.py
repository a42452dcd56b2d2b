"""Verify a bundle on another machine: every byte, the signature, the custody chain, and the verdict once more."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import tempfile
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import local_knowledge, pipeline, signing
from mailwitness import outcome as outcome_document
from mailwitness.bundles import archive, manifest, witnessed
from mailwitness.bundles.make import restored_name
from mailwitness.content import loader
from mailwitness.errors import EvidenceError, MailwitnessError
from mailwitness.evidence import custody
from mailwitness.tuning import Setting
from mailwitness.verification import differences

if TYPE_CHECKING:
    from collections.abc import Iterator

JsonDict = dict[str, Any]  # Any: JSON values
_SHOWN = 8


class State(StrEnum):
    """What came of a comparison."""

    CONFIRMED = "confirmed"
    WRONG = "wrong"
    OPEN = "not confirmed"


class Line(msgspec.Struct, frozen=True):
    """One thing that was compared, in words."""

    state: State
    text: str


class _Bundle:
    """A bundle whose bytes are in order, its parts read as far as they make sense."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places = {place.member.name: place for place in archive.read(path)}

    def content(self, name: str) -> bytes:
        if name not in self.places:
            raise EvidenceError(f"it has no {name}", place=str(self.path), remedy="Ask for the bundle again.")
        return archive.content(self.path, self.places[name])

    def settings(self) -> manifest.RunSettings:
        found: manifest.RunSettings = _decoded(
            self.content(manifest.SETTINGS), manifest.RunSettings, self.path
        )
        return found

    def report(self) -> JsonDict:
        found: JsonDict = _decoded(self.content(manifest.REPORT), JsonDict, self.path)
        return found


def _decoded(content: bytes, kind: Any, path: Path) -> Any:  # noqa: ANN401 - whatever kind says
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise EvidenceError(
            f"a part of it makes no sense: {error}", place=str(path), remedy="Ask for the bundle again."
        ) from error


def check(
    path: Path, *, key: str = "", originals: Path | None = None, memory: str = "", witness_key: str = ""
) -> list[Line]:
    """Compare a bundle with itself and with what its evidence gives here.

    Args:
        path: the bundle.
        key: public key of the one who made it, hexadecimal, got by another way than the bundle.
        originals: folder with the evidence, when the bundle holds only its digests.
        memory: limit of the database.
        witness_key: public key of the witness, hexadecimal, got by another way than the bundle.

    Returns:
        One line for each thing, in words; a bundle with a changed byte gives one line that says so.
    """
    try:
        bundle = _Bundle(path)
        lines = [
            Line(State.CONFIRMED, f"container: {len(bundle.places)} members, each byte as a bundle has it")
        ]
        found = _manifest(bundle, key)
        lines += found
        if any(line.state is State.WRONG for line in found):
            return lines
        report, settings = bundle.report(), bundle.settings()
        with tempfile.TemporaryDirectory(prefix="mailwitness-bundle-") as temporary:
            work = Path(temporary)
            lines += _custody(bundle, report, work)
            lines += _witness(bundle, report, witness_key)
            lines.append(_rules(bundle, report, settings))
            lines += _evidence(bundle, report, settings, originals, work, memory)
    except MailwitnessError as error:
        return [Line(State.WRONG, str(error))]
    return lines


def _manifest(bundle: _Bundle, pinned: str) -> list[Line]:
    content = bundle.content(manifest.MANIFEST)
    described = manifest.read_manifest(content)
    if described is None:
        return [Line(State.WRONG, "manifest: it makes no sense")]
    signer = manifest.signer(content, bundle.content(manifest.SIGNATURE))
    if not signer:
        return [Line(State.WRONG, "signature: it is not genuine; the bundle was changed or made up")]
    own = {manifest.MANIFEST, manifest.SIGNATURE}
    held = [place.member for name, place in bundle.places.items() if name not in own]
    if held != described.members:
        return [Line(State.WRONG, "manifest: the members are not those that were signed")]
    count = Line(
        State.CONFIRMED,
        f"digests: {len(held)} members are those signed on {described.made} with {described.tool}",
    )
    return [_signature(signer, pinned.strip().lower()), count]


def _signature(signer: str, pinned: str) -> Line:
    if not pinned:
        text = f"signature: genuine for the key {signer}; whose key that is only its owner can tell: compare it, then give --key"
        return Line(State.OPEN, text)
    if signer != pinned:
        return Line(State.WRONG, f"signature: made with the key {signer}, not with the key given")
    return Line(State.CONFIRMED, f"signature: made with the key given, {signer}")


def _custody(bundle: _Bundle, report: JsonDict, work: Path) -> Iterator[Line]:
    log = work / manifest.CUSTODY
    archive.extract(bundle.path, bundle.places[manifest.CUSTODY], log)
    checked = custody.verify(log)
    if not checked.ok:
        yield Line(State.WRONG, f"custody log: {'; '.join(checked.problems[:_SHOWN])}")
        return
    yield Line(
        State.CONFIRMED, f"custody log: {checked.entries} entries, chain unbroken, head {checked.head[:16]}"
    )
    head = _decoded(bundle.content(manifest.HEAD), signing.CustodyHead, bundle.path)
    problem = signing.custody_problem(log, head)
    if problem or head.entries != checked.entries:
        yield Line(State.WRONG, f"custody head: {problem or 'lines were added after it was signed'}")
    else:
        yield Line(State.CONFIRMED, f"custody head: signed on {head.time} with the key {head.key}")
    recorded = [e for e in map(json.loads, log.read_bytes().splitlines()) if e.get("event") == "evaluated"]
    if recorded and recorded[-1].get("report") == outcome_document.digest(report):
        yield Line(State.CONFIRMED, "report: it is the one that the custody log records")
    else:
        yield Line(State.WRONG, "report: it is not the one that the custody log records")


def _witness(bundle: _Bundle, report: JsonDict, pinned: str) -> Iterator[Line]:
    """Check what the bundle holds of the witness; the proofs need neither the witness nor the host."""
    prefix = f"{manifest.PROOFS}/witness/"
    held = {
        name.removeprefix(prefix): bundle.content(name) for name in bundle.places if name.startswith(prefix)
    }
    sources = {str(item.get("source", "")) for item in report["intake"]}
    states = {True: State.CONFIRMED, False: State.WRONG, None: State.OPEN}
    for said in witnessed.statements(held, sources, pinned=pinned):
        yield Line(states[said.holds], said.text)


def _rules(bundle: _Bundle, report: JsonDict, settings: manifest.RunSettings) -> Line:
    """Compute the digest of the bundled rules as an installation does of its own."""
    total = hashlib.sha256()
    prefix = manifest.CONTENT + "/"
    paths = [PurePosixPath(name.removeprefix(prefix)) for name in bundle.places if name.startswith(prefix)]
    for path in sorted(paths):
        if path.suffix in {".yaml", ".csv"}:
            total.update(str(path).encode() + b"\0")
            total.update(bytes.fromhex(bundle.places[prefix + str(path)].member.sha256))
    for member, name in _files(settings.rules):
        total.update(Path(name).name.encode() + b"\0" + bytes.fromhex(_place(bundle, member).member.sha256))
    base = total.hexdigest()
    if settings.watchlists or settings.parameters:
        whole = hashlib.sha256(base.encode())
        for member, name in _files(settings.watchlists):
            whole.update(
                Path(name).name.encode() + b"\0" + bytes.fromhex(_place(bundle, member).member.sha256)
            )
        for one in _parameters(settings):
            whole.update(b"\1" + one.text().encode("utf-8", "backslashreplace"))
        base = whole.hexdigest()
    if base != report["rule_pack"]["digest"]:
        return Line(
            State.WRONG, f"rules: those in the bundle have the digest {base[:16]}, the report names another"
        )
    return Line(State.CONFIRMED, f"rules: the bundle holds those of the report, digest {base[:16]}")


def _files(listed: list[list[str]]) -> Iterator[tuple[str, str]]:
    for names in listed:
        for text in names:
            member, _, name = text.partition(" ")
            yield member, restored_name(name)


def _place(bundle: _Bundle, member: str) -> archive.Place:
    if member not in bundle.places:
        raise EvidenceError(f"it has no {member}", place=str(bundle.path), remedy="Ask for the bundle again.")
    return bundle.places[member]


def _parameters(settings: manifest.RunSettings) -> list[Setting]:
    return msgspec.convert(settings.parameters, list[Setting])


def _evidence(
    bundle: _Bundle,
    report: JsonDict,
    settings: manifest.RunSettings,
    originals: Path | None,
    work: Path,
    memory: str,
) -> Iterator[Line]:
    given, missing = _restore(bundle, settings, originals, work)
    if settings.incomplete or missing or not given:
        reason = (
            settings.incomplete
            or f"{missing or len(report['intake'])} of {len(settings.inputs)} files are not here"
        )
        text = f"verdict: not repeated, because the evidence is not complete ({reason}); give it with --originals"
        yield Line(State.OPEN, text)
        return
    text = f"evidence: {len(settings.inputs)} files have the digests that the bundle names"
    yield Line(State.CONFIRMED, text)
    yield from _verdict(bundle, report, settings, given, work, memory)


def _restore(
    bundle: _Bundle, settings: manifest.RunSettings, originals: Path | None, work: Path
) -> tuple[list[Path], int]:
    """Lay the evidence out as it was given; return what was given, in its order, and how many files are missing."""
    offered = _offered(originals)
    given: dict[int, Path] = {}
    missing = 0
    for one in settings.inputs:
        name = restored_name(one.name)
        if not name:
            raise EvidenceError(
                "it names a file outside its folder", place=str(bundle.path), remedy="Do not use it."
            )
        target = work / "originals" / str(one.given) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if one.member in bundle.places and bundle.places[one.member].member.sha256 == one.sha256:
            archive.extract(bundle.path, bundle.places[one.member], target)
        elif one.sha256 in offered:
            target.write_bytes(offered[one.sha256].read_bytes())
        else:
            missing += 1
            continue
        os.utime(target, (one.modified, one.modified))
        given.setdefault(one.given, work / "originals" / str(one.given) / name.split("/")[0])
    return [given[number] for number in sorted(given)], missing


def _offered(folder: Path | None) -> dict[str, Path]:
    if folder is None:
        return {}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {archive.measure("original", path).member.sha256: path for path in files if not path.is_symlink()}


def _verdict(
    bundle: _Bundle,
    report: JsonDict,
    settings: manifest.RunSettings,
    given: list[Path],
    work: Path,
    memory: str,
) -> Iterator[Line]:
    """Run the same rules on the same evidence at the same clock.

    Mappings and macros of the content are SQL that is trusted with the machine, so the bundle's are only used when they are
    those installed here; rules and watchlists that an organisation added cannot write and are taken from the bundle.
    """
    rules = _written(bundle, settings.rules, work / "rules")
    watchlists = _written(bundle, settings.watchlists, work / "watchlists")
    present = local_knowledge.present_digest(rules, watchlists, _parameters(settings))
    if present != report["rule_pack"]["digest"]:
        described = report["tool"]["version"]
        text = (
            f"verdict: not repeated, because this installation has other rules ({loader.digest()[:16]}) than the bundle; "
            f"verify it with the mailwitness {described} that holds them"
        )
        yield Line(State.OPEN, text)
        return
    run = pipeline.Settings(
        now=dt.datetime.fromisoformat(settings.now),
        memory=memory,
        rules=tuple(rules),
        watchlists=tuple(watchlists),
        parameters=tuple(_parameters(settings)),
        proof=settings.proof,
    )
    repeated = pipeline.investigate(given, work / "case", run, pipeline.Progress()).report
    repeated = json.loads(json.dumps(repeated))
    if outcome_document.digest(repeated) == outcome_document.digest(report):
        outcome, cases = report["summary"]["outcome"], len(report["cases"])
        yield Line(
            State.CONFIRMED, f"verdict: repeated here at {settings.now}: {outcome}, {cases} cases, identical"
        )
        return
    for difference in differences(report, repeated)[:_SHOWN]:
        yield Line(State.WRONG, f"verdict: {difference}")


def _written(bundle: _Bundle, listed: list[list[str]], folder: Path) -> list[Path]:
    """Write bundled files under their own names, each in a folder of its own, and return them in their order."""
    paths = []
    for number, (member, name) in enumerate(_files(listed)):
        target = folder / f"{number:06}" / (Path(name).name or "unnamed.yaml")
        target.parent.mkdir(parents=True)
        archive.extract(bundle.path, _place(bundle, member), target)
        paths.append(target)
    return paths
