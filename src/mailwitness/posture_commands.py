"""The commands for posture: judge settings, take a snapshot or a baseline of a host, write settings that work, test them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from mailwitness.posture.run import Posture

CLEAR, FOUND, FAILED = 0, 1, 2

posture_app = App(
    name="posture",
    help="Say which settings leave which clearing invisible, and how to change that; nothing is changed by itself.",
)


@posture_app.default
def judge(
    *,
    root: Path | None = None,
    case: Path | None = None,
    platform: list[str] | None = None,
    exceptions: Path | None = None,
    format: Literal["table", "json", "html", "ocsf"] = "table",  # noqa: A002 - the name of the flag
    now: str | None = None,
) -> int:
    """Judge this Linux host, a mounted one, or the settings in a case.

    Exit code 0: every check passes; 1: at least one fails; 2: none fails, but not everything could be evaluated.

    Parameters
    ----------
    root
        Root of a Linux host; default / unless a case is given.
    case
        Folder of a case that holds settings (Get- cmdlets, Gmail settings, snapshots of hosts).
    platform
        Judge only this platform, whether or not its settings are there: linux, exchange, m365, google, windows or macos.
    exceptions
        CSV with check, identity, reason, owner and expires.
    format
        How the results are printed.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    from mailwitness.posture.run import run
    from mailwitness.settings import clock

    moment = clock(now)
    looked_at = root or (None if case else Path("/"))
    found = run(root=looked_at, case=case, platforms=platform or [], exempt=exceptions, now=moment)
    _print(found, format, moment.isoformat())
    from mailwitness.posture.evaluate import exit_code

    return exit_code(found.results)


def _print(found: Posture, form: str, moment: str) -> None:
    import datetime as dt
    import json

    from mailwitness.posture import document, page

    now = dt.datetime.fromisoformat(moment)
    if form == "ocsf":
        sys.stdout.write(document.ocsf(found.results, place=found.place, now=now))
        return
    written = document.document(
        found.results, place=found.place, unread=found.unread, absent=found.absent, now=now
    )
    if form == "json":
        print(json.dumps(written, indent=1))
    elif form == "html":
        sys.stdout.write(page.render(found, now=now))
    else:
        for line in page.lines(found):
            print(line)


@posture_app.command
def snapshot(*, out: Path, root: Path = Path("/"), now: str | None = None) -> int:
    """Write a Linux host's settings as evidence, so that they can be judged within a case, elsewhere or later.

    Parameters
    ----------
    out
        File to write, one JSON object a line.
    root
        Root of the host.
    now
        When it is taken, ISO 8601 UTC; default the present time.
    """
    import msgspec

    from mailwitness.posture import host
    from mailwitness.report.text import visible
    from mailwitness.settings import clock

    rows, unread = host.snapshot(root, now=clock(now))
    out.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    print(f"{visible(str(out))}: {len(rows)} settings")
    for path, reason in sorted(unread.items()):
        print(visible(f"not read: {path}: {reason}", 400))
    return FAILED if unread else CLEAR


@posture_app.command
def baseline(*, out: Path, root: Path = Path("/"), seal: Path | None = None, now: str | None = None) -> int:
    """Write modes, owners, access lists, attributes and digests of mail stores, logs and mail settings, signed with your key.

    Exit code 0: everything was read; 2: something could not be read, or the witness did not take it.

    Parameters
    ----------
    out
        File to write.
    root
        Root of the host.
    seal
        Settings of a shipper, TOML: the baseline's signature goes to the witness too, out of this host's reach.
    now
        When it is taken, ISO 8601 UTC; default the present time.
    """
    from mailwitness import signing, signing_key
    from mailwitness.posture import baseline as files
    from mailwitness.posture.sealing import seal as hand_over
    from mailwitness.report.text import visible
    from mailwitness.settings import clock

    key = signing.load(signing_key.path())
    taken = files.sign(files.take(root, now=clock(now)), key)
    files.write(taken, out)
    print(f"{visible(str(out))}: {len(taken.entries)} files and folders, signed with the key {taken.key}")
    if seal:
        print(hand_over(taken, seal))
    for path, reason in taken.unread.items():
        print(visible(f"not read: {path}: {reason}", 400))
    return FAILED if taken.unread else CLEAR


@posture_app.command
def diff(
    file: Path, *, root: Path = Path("/"), key: str = "", json: bool = False, now: str | None = None
) -> int:
    """Say what was added, removed or changed since a baseline, and who could do it.

    Exit code 0: nothing; 1: something; 2: nothing was found, but something could not be read.

    Parameters
    ----------
    file
        The baseline.
    root
        Root of the host.
    key
        Public key that has to have signed it.
    json
        Print the changes as JSON.
    now
        Clock, ISO 8601 UTC; default the present time.
    """
    import msgspec

    from mailwitness.posture import baseline as files
    from mailwitness.posture.root import Root
    from mailwitness.report.text import visible
    from mailwitness.settings import clock

    before = files.read(file, key=key)
    after = files.take(root, now=clock(now))
    found = files.changes(before, after, Root(root))
    unread = before.unread | after.unread
    if json:
        print(
            msgspec.json.format(msgspec.json.encode({"changes": found, "unread": unread}), indent=1).decode()
        )
    else:
        for one in found:
            print(visible(f"{one.kind:<8} {one.path}: {one.what} (who could: {one.who})", 600))
        for path, reason in sorted(unread.items()):
            print(visible(f"not read {path}: {reason}", 400))
        print(f"{len(found)} changes since {before.made}, {len(unread)} places not read")
    return FOUND if found else FAILED if unread else CLEAR


@posture_app.command
def settings(
    *,
    for_: Annotated[
        list[Literal["auditd", "sysmon", "powershell", "exchange", "dovecot", "rsyslog"]],
        Parameter(name="--for"),
    ],
    out: Path,
    root: Path = Path("/"),
    witness: str = "witness.example:6514",
    ca: str = "/etc/mailwitness/ca.pem",
    certificate: str = "/etc/mailwitness/client.pem",
    key: str = "/etc/mailwitness/client.key",
) -> int:
    """Write settings that make clearing visible, chosen for the host found; nothing is installed.

    Exit code 0: each was accepted by its program; 2: one was refused, or nothing here can check it.

    Parameters
    ----------
    for_
        auditd, sysmon, powershell, exchange, dovecot or rsyslog; more than once for several.
    out
        Folder to write to.
    root
        Root of the host that the settings are for.
    witness
        Host and port of the witness, for rsyslog.
    ca
        Authority of the witness, as the host will have it.
    certificate
        Certificate of the host.
    key
        Key of the host.
    """
    from mailwitness.posture.generate import Witness, generate
    from mailwitness.report.text import visible

    host, _, port = witness.rpartition(":")
    target = Witness(
        host=host or witness,
        port=int(port) if host and port.isdigit() else 6514,
        ca=ca,
        certificate=certificate,
        key=key,
    )
    accepted = True
    for kind in for_:
        written = generate(kind, out, root=root, witness=target)
        print(visible(f"{written.path}: {written.said}", 1000))
        for place in written.left_out:
            print(visible(f"  left out, because an audit rule cannot name it: {place}", 400))
        accepted = accepted and bool(written.is_valid) and not written.left_out
    return CLEAR if accepted else FAILED


@posture_app.command
def selftest(
    *,
    scratch: Path | None = None,
    log: list[Path] | None = None,
    deed: list[str] | None = None,
    arrived: str = "",
    reader: Path | None = None,
    seconds: float = 10.0,
) -> int:
    """Clear mail made for it in a scratch folder, and show whether that was recorded, and arrived at the witness.

    Exit code 0: everything was recorded (and arrived); 1: something was not; 2: something could not be tried.

    Parameters
    ----------
    scratch
        Folder that does not exist yet, below a watched one, such as /var/mail/mailwitness-selftest.
    log
        Log that should notice, such as /var/log/audit/audit.log; may be given more than once.
    deed
        Only this deed; `mailwitness emulate --list --live` lists them.
    arrived
        Do nothing here; look whether the trace that a self-test script printed on another host is at the witness.
    reader
        Settings of a reader of the witness, TOML.
    seconds
        How long a record may take to arrive.
    """
    from mailwitness.errors import ConfigError
    from mailwitness.posture import selftest as test
    from mailwitness.report.text import visible

    if arrived:
        if reader is None:
            raise ConfigError(
                "a trace is looked for at a witness", place="--arrived", remedy="Give --reader too."
            )
        is_there = test.has_arrived(arrived, reader, seconds=seconds)
        print(f"{visible(arrived, 200)}: {'arrived' if is_there else 'did NOT arrive'}")
        return CLEAR if is_there else FOUND
    if scratch is None or not log:
        raise ConfigError(
            "a self-test needs a place and a log", place="selftest", remedy="Give --scratch and --log."
        )
    tried = test.run(scratch, log, deeds=deed or [], reader=reader, seconds=seconds)
    for one in tried:
        for line in one.lines:
            print(visible(line, 500))
        words = {True: "arrived", False: "did NOT arrive", None: "no witness was asked"}
        print(
            f"  {'not tried' if one.is_recorded is None else 'recorded' if one.is_recorded else 'NOT recorded'}; {words[one.has_arrived]}"
        )
    if any(one.is_recorded is False or one.has_arrived is False for one in tried):
        return FOUND
    return FAILED if any(one.is_recorded is None for one in tried) or not tried else CLEAR
