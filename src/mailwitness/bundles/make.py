"""Pack a case into a bundle."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import signing
from mailwitness.bundles import archive, manifest
from mailwitness.bundles.manifest import Input, RunSettings
from mailwitness.content import exclusions, loader
from mailwitness.errors import CaseError, EvidenceError
from mailwitness.evidence import custody, seal, walk
from mailwitness.evidence.names import display_name, original_name
from mailwitness.evidence.opening import Refused
from mailwitness.evidence.store import CaseFolder, temp_name
from mailwitness.pipeline import TOOL
from mailwitness.verification import read_report

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

JsonDict = dict[str, Any]  # Any: JSON values
Content = bytes | Path
# What other commands keep in a case that proves something by itself.
_PROOFS = ("proofs", "witness")
_OTHERS = ("report.html", "report.md", "quarantine.jsonl")


def make(
    case: Path, target: Path, key: Ed25519PrivateKey, *, with_originals: bool, now: dt.datetime
) -> manifest.Manifest:
    """Write a bundle and note in the custody log that it was made.

    Args:
        case: the case folder.
        target: the file to write; it must not exist.
        key: signs the bundle and the head of the custody log.
        with_originals: pack the evidence itself, not only its digests.
        now: the moment it is made, aware UTC.

    Returns:
        What the bundle says about itself.

    Raises:
        EvidenceError: the evidence is not what was sealed, or the target cannot be written.
        CaseError: the case has no report, or its custody log does not verify.
    """
    folder = CaseFolder(case, create=False)
    with folder.lock():
        report = read_report(folder)
        signing.sign_custody(folder, key, now=now)
        parts = _members(folder, report, with_originals=with_originals)
        measured = [(archive.measure(name, content), content) for name, content in sorted(parts.items())]
        described = manifest.manifest(
            [place.member for place, _ in measured],
            made=_moment(now),
            tool=TOOL,
            outcome=report["summary"]["outcome"],
            rule_pack=report["rule_pack"]["digest"],
            custody_head=custody.verify(folder.custody).head,
            has_originals=with_originals,
        )
        signature = manifest.sign(described, key)
        first = [
            (archive.measure(name, content), content)
            for name, content in ((manifest.MANIFEST, described), (manifest.SIGNATURE, signature))
        ]
        _write(target, [*first, *measured])
        _note(folder, target, key, now)
    found = manifest.read_manifest(described)
    assert found is not None  # noqa: S101 - it was written a few lines above
    return found


def _write(target: Path, members: list[tuple[archive.Place, Content]]) -> None:
    if target.exists():
        raise EvidenceError("there is a file already", place=str(target), remedy="Choose another name.")
    temporary = temp_name(target)
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            archive.write(file, members)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(target)
    except OSError as error:
        raise EvidenceError(
            f"it cannot be written: {error.strerror}", place=str(target), remedy="Choose another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _note(folder: CaseFolder, target: Path, key: Ed25519PrivateKey, now: dt.datetime) -> None:
    """Write into the custody log that a copy was made to be handed over, and sign the log's new head."""
    log = custody.CustodyLog(folder.custody, now=now, tool=TOOL)
    try:
        sha256 = archive.measure("bundle", target).member.sha256
        log.append("bundled", now=now, bundle=display_name(target.name), sha256=sha256)
    finally:
        log.close()
    signing.sign_custody(folder, key, now=now)


def _moment(now: dt.datetime) -> str:
    return now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _members(folder: CaseFolder, report: JsonDict, *, with_originals: bool) -> dict[str, Content]:
    parts: dict[str, Content] = {
        manifest.REPORT: folder.path / "report.json",
        manifest.CUSTODY: folder.custody,
        manifest.HEAD: folder.path / signing.HEAD_FILE,
    }
    parts |= {name: folder.path / name for name in _OTHERS if (folder.path / name).is_file()}
    parts |= _content()
    rules, rule_files = _copied(manifest.RULES, [_rule_files(path) for path in _folders(folder, "rules")])
    lists, list_files = _copied(
        manifest.WATCHLISTS, [exclusions.files([path]) for path in _folders(folder, "watchlists")]
    )
    inputs, originals, problem = _inputs(folder, report)
    if with_originals:
        if problem:
            raise EvidenceError(
                problem,
                place=str(folder.path),
                remedy="Bundle it without --with-originals, or restore the file.",
            )
        parts |= originals
    else:
        inputs = [msgspec.structs.replace(one, member="") for one in inputs]
    settings = RunSettings(
        now=report["evaluated"]["now"],
        inputs=inputs,
        rules=rules,
        watchlists=lists,
        parameters=list(folder.description().get("parameters", [])),
        proof=folder.description().get("proof", "auto"),
        incomplete=problem,
    )
    parts[manifest.SETTINGS] = manifest.canonical(settings)
    return parts | rule_files | list_files | _proofs(folder)


def _content() -> dict[str, Content]:
    """Return the shipped content: rules, chains, sources, everything a verdict comes from."""
    kinds = {".yaml", ".csv", ".sql"}
    return {
        f"{manifest.CONTENT}/{path.relative_to(loader.CONTENT).as_posix()}": path
        for path in loader.CONTENT.rglob("*")
        if path.suffix in kinds and path.is_file()
    }


def _folders(folder: CaseFolder, kind: str) -> list[Path]:
    listed = [Path(name) for name in folder.description().get(kind, [])]
    for path in listed:
        if not path.exists():
            raise CaseError(
                f"the {kind} of the run are no longer there: {display_name(path)}",
                place=str(folder.path),
                remedy="Restore them, or investigate again.",
            )
    return listed


def _rule_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix in {".yaml", ".yml"})


def _copied(kind: str, folders: list[list[Path]]) -> tuple[list[list[str]], dict[str, Content]]:
    """Return the names of files folder by folder, and the members; names are numbers, as theirs could mean anything."""
    named: list[list[str]] = []
    members: dict[str, Content] = {}
    for files in folders:
        names = []
        for path in files:
            member = f"{kind}/{len(members) + 1:06}"
            members[member] = path
            names.append(f"{member} {display_name(path.name)}")
        named.append(names)
    return named, members


def _inputs(folder: CaseFolder, report: JsonDict) -> tuple[list[Input], dict[str, Content], str]:
    """Return the given files, their members, and what is wrong with them now; empty when nothing is."""
    given = [Path(name) for name in folder.description().get("given", [])]
    inputs: list[Input] = []
    members: dict[str, Content] = {}
    for found in walk.collect(given, exclude=[folder.path]):
        if isinstance(found, Refused):
            continue
        number, name = _name_of(found.path, given)
        member = f"{manifest.ORIGINALS}/{len(inputs) + 1:06}"
        try:
            digests = seal.rehash(found.path)
        except EvidenceError as error:
            return inputs, members, str(error)
        inputs.append(
            Input(
                given=number,
                name=name,
                sha256=digests.sha256,
                size=digests.size_bytes,
                modified=int(found.path.stat().st_mtime),
                member=member,
            )
        )
        members[member] = Path(os.path.realpath(found.path))
    return inputs, members, _difference(folder, report, {one.sha256 for one in inputs})


def _name_of(path: Path, given: list[Path]) -> tuple[int, str]:
    for number, root in enumerate(given):
        if path == root or path.is_relative_to(root):
            return number, display_name((Path(root.name or "root") / path.relative_to(root)).as_posix())
    return 0, display_name(path.name)


def _difference(folder: CaseFolder, report: JsonDict, present: set[str]) -> str:
    """Return which exhibit is no longer what was sealed; members of archives are the archive's business."""
    kept = {item["id"] for item in folder.description().get("exhibits", []) if item.get("kept")}
    for item in report["intake"]:
        if item["exhibit"] not in kept and item["sha256"] not in present:
            return f"exhibit {item['exhibit']} ({item['path']}) is no longer what was sealed"
    return ""


def _proofs(folder: CaseFolder) -> dict[str, Content]:
    """Return the proofs that other commands put into the case; their own names are kept where they are harmless."""
    found: dict[str, Content] = {}
    for kind in _PROOFS:
        for path in sorted((folder.path / kind).rglob("*")):
            name = f"{manifest.PROOFS}/{path.relative_to(folder.path).as_posix()}"
            if path.is_file() and not path.is_symlink():
                found[name if archive.is_name(name) else f"{manifest.PROOFS}/{len(found) + 1:06}"] = path
    return found


def restored_name(name: str) -> str:
    """Return the name of a file that a bundle names, or an empty text when it would lead out of its folder."""
    plain = original_name(name)
    parts = plain.split("/")
    return "" if "\0" in plain or any(part in {"", ".", ".."} for part in parts) else plain
