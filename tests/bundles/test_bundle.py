"""What a bundle promises: the same bytes for the same case, and no changed byte unnoticed."""

from __future__ import annotations

import datetime as dt
import io
import json
import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mailwitness import pipeline, signing, verification
from mailwitness.bundles import archive, manifest
from mailwitness.bundles.check import Line, State, check
from mailwitness.bundles.make import make, restored_name
from mailwitness.errors import ConfigError, EvidenceError
from mailwitness.evidence import custody
from mailwitness.evidence.store import CaseFolder
from mailwitness.witness.heads import public_text

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
LOG = (
    "2026-03-02T09:00:00+00:00 mx dovecot: imap(alice)<1><s>: save: box=INBOX, uid=1, msgid=<a@contoso.example>, size=10\n"
    "2026-03-02T09:05:00+00:00 mx dovecot: imap(alice)<1><s>: expunge: box=INBOX, uid=1, msgid=<a@contoso.example>, size=10\n"
)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("case")
    evidence = home / "evidence"
    evidence.mkdir()
    (evidence / "mail.log").write_text(LOG, encoding="utf-8")
    (evidence / "empty").touch()
    with zipfile.ZipFile(evidence / "more.zip", "w") as packed:
        packed.writestr("old/mail.log.1", LOG.replace("2026-03-02", "2026-03-01"))
    pipeline.investigate([evidence], home / "case", pipeline.Settings(now=NOW), pipeline.Progress())
    return home / "case"


@pytest.fixture
def copied(case: Path, tmp_path: Path) -> Path:
    return shutil.copytree(case, tmp_path / "case")


@pytest.fixture(scope="module")
def packed(case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "bundle.zip"
    make(shutil.copytree(case, target.parent / "case"), target, KEY, with_originals=True, now=NOW)
    return target


def states(lines: list[Line]) -> set[State]:
    return {line.state for line in lines}


def test_the_receiver_repeats_the_verdict_from_the_bundle_alone(packed: Path) -> None:
    lines = check(packed, key=public_text(KEY))

    assert states(lines) == {State.CONFIRMED}
    assert any("repeated here" in line.text and "identical" in line.text for line in lines)


def test_the_same_case_at_the_same_time_gives_the_same_bytes(
    case: Path, packed: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.zip"
    make(shutil.copytree(case, tmp_path / "case"), again, KEY, with_originals=True, now=NOW)

    assert packed.read_bytes() == again.read_bytes()


def test_any_program_can_unpack_it(packed: Path) -> None:
    with zipfile.ZipFile(packed) as container:
        assert container.testzip() is None
        assert json.loads(container.read("report.json"))["intake"]


def test_a_bundle_of_digests_is_confirmed_only_with_the_evidence_beside_it(copied: Path, case: Path) -> None:
    target = copied.parent / "digests.zip"
    make(copied, target, KEY, with_originals=False, now=NOW)

    without = check(target, key=public_text(KEY))
    beside = check(target, key=public_text(KEY), originals=case.parent / "evidence")

    assert State.OPEN in states(without)
    assert any("not repeated" in line.text for line in without)
    assert states(beside) == {State.CONFIRMED}


def test_without_the_key_nobody_is_confirmed_as_its_maker(packed: Path) -> None:
    assert State.OPEN in states(check(packed))
    assert State.WRONG in states(check(packed, key=public_text(OTHER)))


def test_a_bundle_made_up_with_another_key_is_refused(copied: Path) -> None:
    target = copied.parent / "forged.zip"
    make(copied, target, OTHER, with_originals=True, now=NOW)

    lines = check(target, key=public_text(KEY))

    assert [line.state for line in lines if line.text.startswith("signature")] == [State.WRONG]


def small_bundle() -> bytes:
    """Return a whole bundle, signed, with small members: small enough to change each of its bytes."""
    parts = {"custody.jsonl": b'{"seq":1}\n', "originals/000001": b"From alice\n", "report.json": b"{}\n"}
    places = [archive.measure(name, content) for name, content in parts.items()]
    described = manifest.manifest(
        [place.member for place in places],
        made="2026-04-01T00:00:00Z",
        tool="mailwitness",
        outcome="clear",
        rule_pack="00",
        custody_head="00",
        has_originals=True,
    )
    signature = manifest.sign(described, KEY)
    out = io.BytesIO()
    first = [
        (archive.measure(n, c), c)
        for n, c in ((manifest.MANIFEST, described), (manifest.SIGNATURE, signature))
    ]
    archive.write(out, [*first, *zip(places, parts.values(), strict=True)])
    return out.getvalue()


def is_intact(path: Path) -> bool:
    """Say whether container, signature and digests of a bundle are in order, as `check` asks before all else."""
    try:
        places = {place.member.name: place for place in archive.read(path)}
        described = archive.content(path, places[manifest.MANIFEST])
        signature = archive.content(path, places[manifest.SIGNATURE])
    except (EvidenceError, KeyError):
        return False
    found = manifest.read_manifest(described)
    held = [p.member for name, p in places.items() if name not in {manifest.MANIFEST, manifest.SIGNATURE}]
    return (
        found is not None
        and found.members == held
        and manifest.signer(described, signature) == public_text(KEY)
    )


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    content = small_bundle()
    path = tmp_path / "changed.zip"
    path.write_bytes(content)
    assert is_intact(path)

    # Lower bit, letter case and all bits: what would pass as the same number, the same letter, the same length.
    for place in range(len(content)):
        for mask in (0x01, 0x20, 0xFF):
            changed = bytearray(content)
            changed[place] ^= mask
            path.write_bytes(changed)

            assert not is_intact(path), f"byte {place} ^ {mask:#x}"


def test_every_missing_and_every_added_byte_is_found(tmp_path: Path) -> None:
    content = small_bundle()
    path = tmp_path / "changed.zip"

    for place in range(len(content)):
        for changed in (
            content[:place],
            content[:place] + content[place + 1 :],
            content[:place] + b"\0" + content[place:],
        ):
            path.write_bytes(changed)
            assert not is_intact(path), f"byte {place}"
    path.write_bytes(content + b"\n")
    assert not is_intact(path)


@pytest.mark.parametrize("place", [0, 1000, -1, -22, -60])
def test_the_whole_check_says_that_a_byte_was_changed(packed: Path, tmp_path: Path, place: int) -> None:
    changed = bytearray(packed.read_bytes())
    changed[place] ^= 0x01
    path = tmp_path / "changed.zip"
    path.write_bytes(changed)

    assert states(check(path, key=public_text(KEY))) >= {State.WRONG}


def test_a_zip_comment_a_compressed_member_and_a_path_outside_are_refused(tmp_path: Path) -> None:
    def made(name: str, *, method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> Path:
        path = tmp_path / "made.zip"
        with zipfile.ZipFile(path, "w", method) as container:
            container.writestr(name, b"0" * 1_000_000)
            container.comment = comment
        return path

    for path in (
        made("manifest.json"),
        made("manifest.json", comment=b"x"),
        made("manifest.json", method=zipfile.ZIP_DEFLATED),
        made("../manifest.json"),
        made("/etc/passwd"),
    ):
        with pytest.raises(EvidenceError):
            archive.read(path)


def test_names_that_lead_out_of_a_folder_are_refused() -> None:
    assert [archive.is_name(n) for n in ("originals/000001", "content/rules/a-b.yaml", "report.json")] == [
        True
    ] * 3
    hostile = ("../x", "/x", "a/../x", "a//x", "a\\x", "a/\n", "", "C:x", "a/./x", "x" * 300, "a/..x")
    assert not any(archive.is_name(name) for name in hostile)
    assert restored_name("evidence/mail.log") == "evidence/mail.log"
    assert [restored_name(name) for name in ("/etc/x", "a/../../x", "..", "a//b", "a\\x00b")] == [""] * 5


def test_evidence_that_changed_since_it_was_sealed_is_not_handed_over(copied: Path, tmp_path: Path) -> None:
    evidence = shutil.copytree(copied.parent / "case", tmp_path / "untouched")
    marker = json.loads((copied / "case.json").read_bytes())
    moved = tmp_path / "evidence"
    shutil.copytree(marker["given"][0], moved)
    (moved / "mail.log").write_text("nothing happened\n", encoding="utf-8")
    CaseFolder(copied, create=False).describe(given=[str(moved)])

    with pytest.raises(EvidenceError, match="no longer what was sealed"):
        make(copied, tmp_path / "b.zip", KEY, with_originals=True, now=NOW)

    assert evidence.is_dir()
    assert not (tmp_path / "b.zip").exists()


def test_lines_cut_off_the_custody_log_show_against_its_signed_head(copied: Path) -> None:
    folder = CaseFolder(copied, create=False)
    signing.sign_custody(folder, KEY, now=NOW)
    lines = folder.custody.read_bytes().splitlines(keepends=True)
    folder.custody.write_bytes(b"".join(lines[:-1]))

    assert custody.verify(folder.custody).ok
    assert any(not line.ok and line.text.startswith("custody head") for line in verification.verify(copied))


def test_a_case_with_an_intact_signed_head_verifies(copied: Path) -> None:
    signing.sign_custody(CaseFolder(copied, create=False), KEY, now=NOW)

    lines = verification.verify(copied)

    assert [line.text for line in lines if not line.ok] == []
    assert any("signed on 2026-04-01T00:00:00Z" in line.text for line in lines)


def test_the_key_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "config" / "signing.pem"

    public = signing.make(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert signing.make(path) == public
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        signing.load(path)
    with pytest.raises(ConfigError, match="no signing key"):
        signing.load(tmp_path / "absent")


def proved(folder: Path) -> tuple[bytes, str]:
    """Return a proof file of two records of a witness, and the witness's key."""
    import hashlib

    import msgspec

    from mailwitness.witness import proofs
    from mailwitness.witness.heads import Signer
    from mailwitness.witness.held import LocalSource
    from mailwitness.witness.records import Entry, Kind
    from mailwitness.witness.store import Store

    signer = Signer(folder / "keys")
    store = Store(folder / "store", signer=signer, guard=False)
    lines = [b"line %d" % number for number in range(9)]
    store.append(
        [Entry(Kind.SYSLOG, "mail", hashlib.sha256(line).digest(), line) for line in lines], now_us=1
    )
    store.publish(now_us=2)
    store.close()
    return msgspec.json.encode(proofs.make(LocalSource(folder / "store", signer.key), [3, 5])), signer.key


def of_witness(bundle: Path, key: str = "") -> list[tuple[State, str]]:
    return [
        (line.state, line.text)
        for line in check(bundle, key=public_text(KEY), witness_key=key)
        if line.text.startswith("witness:")
    ]


def test_the_witnesss_proofs_in_a_bundle_are_checked_and_said_in_words(copied: Path, tmp_path: Path) -> None:
    content, key = proved(tmp_path)
    (copied / "witness").mkdir()
    (copied / "witness" / "mail.json").write_bytes(content)
    make(copied, tmp_path / "good.zip", KEY, with_originals=False, now=NOW)
    (copied / "witness" / "mail.json").write_bytes(content.replace(b'"number":3', b'"number":4'))
    make(copied, tmp_path / "bad.zip", KEY, with_originals=False, now=NOW)

    pinned, unpinned = of_witness(tmp_path / "good.zip", key), of_witness(tmp_path / "good.zip")

    assert [state for state, _ in pinned] == [State.CONFIRMED, State.CONFIRMED]
    assert "2 records lead to the head of 9 records" in pinned[0][1]
    assert [state for state, _ in unpinned] == [State.CONFIRMED, State.OPEN]
    assert [state for state, _ in of_witness(tmp_path / "good.zip", "ab" * 32)] == [
        State.CONFIRMED,
        State.WRONG,
    ]
    assert [state for state, _ in of_witness(tmp_path / "bad.zip", key)] == [State.WRONG]
