"""The Linux audit log: events are put together, decoded, and nothing is lost on the way."""

from __future__ import annotations

import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailwitness import tables
from mailwitness.content import loader
from mailwitness.readers import audit_batches, auditd, laurel
from mailwitness.readers.audit_event import command_line, flag_names, moment, normalise
from mailwitness.readers.audit_wanted import is_wanted
from mailwitness.readers.blocks import Damage, RawRecord
from mailwitness.readers.syscalls import syscall_name
from mailwitness.sources import audit_sql

from ..case_runs import PUBLIC, acts, ask, run

if TYPE_CHECKING:
    import duckdb

DATA = Path(__file__).parent / "data"
RECORDED = PUBLIC.parent / "recorded" / "linux-mail"
CALL = (
    "type=SYSCALL msg=audit({id}): arch=c000003e syscall={number} success=yes exit=0 a0=ffffff9c a1=7ff a2={flags} a3=0 items=1 ppid=1 pid=2 auid=1004 uid=0 gid=0 euid=0 suid=0 "
    'fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts1 ses=14 comm="x" exe="/usr/bin/x" key=(null)'
)


def records(path: Path) -> list[RawRecord]:
    """Return the records of an audit log that must have no damage."""
    found = list(auditd.read(path))
    assert not [item for item in found if isinstance(item, Damage)]
    return [item for item in found if isinstance(item, RawRecord)]


def one(tmp_path: Path, *lines: str) -> dict[str, object]:
    """Return the data of the only event of the lines."""
    path = tmp_path / "audit.log"
    path.write_text("\n".join(lines) + "\n")
    (record,) = records(path)
    return record.data


def test_interleaved_records_become_whole_events() -> None:
    found = {record.data["AuditId"]: record.data for record in records(DATA / "audit_truncate.log")}

    assert found["1772442190.101:840"]["CommandLine"] == "truncate -s 0 '/var/mail/bob two'"
    written = found["1772442190.105:841"]
    assert (written["Path"], written["Owner"], written["LoginUser"], written["UserName"]) == (
        "/var/mail/bob",
        "bob",
        "mallory",
        "root",
    )
    assert (written["OpenFlags"], written["FileAction"], written["Truncated"]) == (
        "O_WRONLY|O_CREAT|O_TRUNC",
        "FileModified",
        "true",
    )
    assert written["CommandLine"] == "bash -c : > mail/bob"


def test_the_login_is_the_actor_and_what_it_did_reaches_the_activities(tmp_path: Path) -> None:
    run(tmp_path, {"audit.log": (DATA / "audit_truncate.log").read_bytes()})

    rows = {row["Activity"]: row for row in acts(tmp_path)}

    assert (
        rows["StoreFileTruncated"]["Actor"],
        rows["StoreFileTruncated"]["Mailbox"],
        rows["StoreFileTruncated"]["ActorType"],
    ) == ("mallory", "bob", "Admin")
    assert (
        rows["LoggingStopped"]["Setting"],
        rows["LoggingStopped"]["SettingBefore"],
        rows["LoggingStopped"]["SettingAfter"],
    ) == ("audit_enabled", "1", "0")
    assert rows["CommandExecuted"]["Operation"] == "truncate"
    (process,) = ask(tmp_path, "DeviceProcessEvents")
    assert (process["AccountName"], process["InitiatingProcessAccountName"], process["FileName"]) == (
        "mallory",
        "root",
        "truncate",
    )
    (file,) = ask(tmp_path, "DeviceFileEvents")
    assert (file["ActionType"], file["FolderPath"], file["IsTruncation"], file["FileOwner"]) == (
        "FileModified",
        "/var/mail/bob",
        True,
        "bob",
    )


@pytest.mark.parametrize(
    ("number", "flags", "action", "truncated"),
    [
        ("257", "241", "FileModified", True),
        ("257", "441", "FileModified", False),
        ("257", "80000", None, False),
        ("257", "2", "FileModified", False),
        ("76", "0", "FileModified", True),
        ("87", "0", "FileDeleted", False),
    ],
)
def test_system_calls_and_flags_are_decoded(
    tmp_path: Path, number: str, flags: str, action: str | None, *, truncated: bool
) -> None:
    kind = "DELETE" if action == "FileDeleted" else "NORMAL"
    data = one(
        tmp_path,
        CALL.format(id="1772442190.1:5", number=number, flags=flags),
        f'type=PATH msg=audit(1772442190.1:5): item=0 name="/var/mail/bob" inode=1 dev=fe:00 mode=0100600 ouid=1002 ogid=8 rdev=00:00 nametype={kind}',
    )

    assert (data.get("FileAction"), data.get("Truncated") == "true") == (action, truncated)


def test_a_rename_over_a_mailbox_is_a_replacement(tmp_path: Path) -> None:
    path = 'type=PATH msg=audit(1772442190.1:5): item={n} name="{name}" inode={n} dev=fe:00 mode=0100600 ouid=0 ogid=8 rdev=00:00 nametype={kind}'
    lines = [
        path.format(n=n, name=name, kind=kind)
        for n, (name, kind) in enumerate(
            [
                ("/var/mail/", "PARENT"),
                ("/var/mail/", "PARENT"),
                ("/var/mail/sedAbCdEf", "DELETE"),
                ("/var/mail/bob", "DELETE"),
                ("/var/mail/bob", "CREATE"),
            ]
        )
    ]

    data = one(tmp_path, CALL.format(id="1772442190.1:5", number="82", flags="0"), *lines)

    assert (data["Path"], data["SourcePath"], data["Replaced"], data["FileAction"]) == (
        "/var/mail/bob",
        "/var/mail/sedAbCdEf",
        "true",
        "FileRenamed",
    )


def test_a_name_below_an_open_folder_is_not_given_a_folder_it_may_not_have(tmp_path: Path) -> None:
    call = CALL.format(id="1772442190.1:5", number="263", flags="0").replace("a0=ffffff9c", "a0=7")

    data = one(
        tmp_path,
        call,
        'type=CWD msg=audit(1772442190.1:5): cwd="/root"',
        'type=PATH msg=audit(1772442190.1:5): item=0 name="0C35" inode=1 dev=fe:00 mode=0100600 ouid=0 ogid=8 rdev=00:00 nametype=DELETE',
    )

    assert data["Path"] == "0C35"


def test_long_arguments_come_together_from_several_records(tmp_path: Path) -> None:
    data = one(
        tmp_path,
        CALL.format(id="1.1:5", number="59", flags="0"),
        'type=EXECVE msg=audit(1.1:5): argc=2 a0="echo" a1_len=8 a1[0]=6162',
        "type=EXECVE msg=audit(1.1:5):  a1[1]=6364",
    )

    assert data["CommandLine"] == "echo abcd"


def test_a_whole_event_on_one_line_is_taken_apart(tmp_path: Path) -> None:
    data = one(
        tmp_path,
        CALL.format(id="1.1:5", number="87", flags="0")
        + ' type=CWD msg=audit(1.1:5): cwd="/var/mail" type=PATH msg=audit(1.1:5): item=0 name="bob" inode=1 dev=fe:00 mode=0100600 ouid=0 ogid=8 rdev=00:00 nametype=DELETE',
    )

    assert (data["Path"], data["FileAction"]) == ("/var/mail/bob", "FileDeleted")


def test_equal_ids_of_two_hosts_are_two_events(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text(
        "".join(f"node={host} {CALL.format(id='1.1:5', number='87', flags='0')}\n" for host in ("a", "b"))
    )

    assert [record.data["Node"] for record in records(path)] == ["a", "b"]


def test_a_record_far_behind_its_event_is_kept_as_its_own(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    between = "".join(
        CALL.format(id=f"2.1:{n}", number="0", flags="0") + "\n" for n in range(auditd.WINDOW + 300)
    )
    path.write_text(
        CALL.format(id="1.1:5", number="87", flags="0")
        + "\n"
        + between
        + 'type=CWD msg=audit(1.1:5): cwd="/"\n'
    )

    assert len([record for record in records(path) if record.data["AuditId"] == "1.1:5"]) == 2


def test_what_ausearch_interprets_is_read_too(tmp_path: Path) -> None:
    data = one(
        tmp_path,
        "----",
        "type=PATH msg=audit(03/02/26 09:03:10.101:840) : item=0 name=/var/mail/bob inode=1 dev=fe:00 mode=file,600 ouid=bob ogid=mail rdev=00:00 nametype=NORMAL",
        "type=SYSCALL msg=audit(03/02/26 09:03:10.101:840) : arch=x86_64 syscall=openat success=yes exit=3 a0=AT_FDCWD a1=0x7ff a2=O_WRONLY|O_CREAT|O_TRUNC a3=0666 items=1 ppid=1 pid=2 auid=mallory uid=root gid=root euid=root tty=pts1 ses=14 comm=bash exe=/usr/bin/bash key=mail",
    )

    assert (data["Path"], data["OpenFlags"], data["LoginUser"], data["Truncated"]) == (
        "/var/mail/bob",
        "O_WRONLY|O_CREAT|O_TRUNC",
        "mallory",
        "true",
    )


def test_commands_with_blanks_are_whole_in_what_ausearch_interprets(tmp_path: Path) -> None:
    data = one(
        tmp_path,
        "type=EXECVE msg=audit(03/02/26 09:03:10.101:840) : argc=3 a0=bash a1=-c a2=sudo rm /var/mail/bob ",
        "type=SYSCALL msg=audit(03/02/26 09:03:10.101:840) : arch=x86_64 syscall=execve success=yes exit=0 items=0 "
        "ppid=1 pid=2 auid=mallory uid=root comm=bash exe=/usr/bin/bash key=exec",
    )

    assert data["CommandLine"] == "bash -c 'sudo rm /var/mail/bob'"


def test_names_and_paths() -> None:
    assert (
        syscall_name("c000003e", "257"),
        syscall_name("c00000b7", "56"),
        syscall_name("c00000b7", "35"),
        syscall_name("c000003e", "99999"),
    ) == ("openat", "openat", "unlinkat", "99999")
    assert flag_names(0x441) == "O_WRONLY|O_CREAT|O_APPEND"
    assert normalise("/var/spool/mail/../mail//bob", "") == "/var/mail/bob"
    assert moment("1772442190.1:5") == (1772442190100000, "5")
    assert command_line(["sh", "-c", ": > x", ""]) == "sh -c ': > x' ''"


RAW = loader.mappings()["linux_audit"].raw | {"IsExec": "VARCHAR"}
# Many arguments and paths are columns of their own only where they are asked for; then such events are taken apart one by one.
FEW = {key: kind for key, kind in RAW.items() if key != "Paths" and not re.fullmatch(r"a\d|argc", key)}


@lru_cache(maxsize=1)
def database() -> duckdb.DuckDBPyConnection:
    """Return a database with the macros of the mappings, which take longer to read than these logs."""
    return tables.connect(memory="1GB", threads=1, temporary=Path(tempfile.gettempdir()))


def fast(path: Path, raw: dict[str, str], *, is_brief: bool) -> list[tuple[Any, Any]]:
    """Return what the fast way of large files finds, each with its place; rows without all their columns say so."""
    batches = audit_batches.EventBatches(path, frozenset(raw), is_brief=is_brief)
    found: dict[int, Any] = {}
    connection = database()
    for portion in batches.portions():
        others, wanted, brief = portion.others, portion.wanted, portion.brief
        connection.register("brief", brief)
        for row in connection.execute("SELECT * FROM brief").fetchall():
            number, micros, key, serial, node, kind, salvaged = row
            found[number] = {
                "AuditId": key,
                "Micros": micros,
                "Serial": serial,
                "Node": node,
                "RecordType": kind,
                "brief": True,
                "_mw_salvaged": salvaged,
            }
        judged = audit_sql.commands(connection, (others, wanted), []).tables
        for name, table in zip(("others", "wanted"), judged, strict=True):
            connection.register(name, table)
            sql = audit_sql.relation(raw, "E1", name, is_wanted=name == "wanted")
            rows = connection.execute(sql)
            names = [column[0] for column in rows.description]
            for row in rows.fetchall():
                data = {key: value for key, value in zip(names, row, strict=True) if value is not None}
                number = data.pop("_mw_position")
                found[number] = data | {"few": name == "others"} if "AuditId" in data else {}
        again = [number for number, data in found.items() if data == {}]
        content = path.read_bytes()
        items = list(batches.again(portion, again))
        for leftover in portion.odd:
            items += leftover.apart + [(number, damage) for number, damage, _ in leftover.damaged]
            assert all(
                content[one.offset :][: one.length].startswith(text) for _, one, text in leftover.damaged
            )
        found |= {
            n: item.data | {"_mw_salvaged": item.salvaged} if isinstance(item, RawRecord) else item
            for n, item in items
        }
    index = batches.index()
    assert sorted(found) == list(range(len(index)))
    return [(item, index.locate(n)) for n, item in found.items()]


def same(path: Path, raw: dict[str, str] = FEW) -> int:
    """Demand that the fast way of large files says what the whole reader says; return how many rows may be brief."""
    whole = list(auditd.read(path))
    complete = fast(path, raw, is_brief=False)
    agrees(path, raw, whole, complete)
    # What a query completes is complete.
    assert not any(item.get("few") for item, _ in complete if isinstance(item, dict))
    found = fast(path, raw, is_brief=True)
    agrees(path, raw, whole, found)
    return sum("brief" in item for item, _ in found if not isinstance(item, Damage))


def agrees(path: Path, raw: dict[str, str], whole: list[Any], found: list[tuple[Any, Any]]) -> None:
    """Demand that what was found is what the whole reader says, and that brief rows are of no interest."""
    expected: dict[int, list[Any]] = {}
    for item in whole:
        expected.setdefault(item.offset, []).append(item)
    assert len(found) == len(whole)
    for item, place in found:
        of_place = [
            one
            for one in expected[place.offset]
            if isinstance(one, Damage) or isinstance(item, Damage) or one.data["AuditId"] == item["AuditId"]
        ]
        other = of_place[0]
        assert (place.offset, place.length, place.line) == (other.offset, other.length, other.line)
        assert isinstance(item, Damage) == isinstance(other, Damage)
        if isinstance(item, Damage):
            assert item.reason == other.reason
            continue
        few, brief = item.get("few", False), item.get("brief", False)
        if brief:
            assert not other.data.get("IsExec")
            assert other.data["RecordType"] not in {
                "USER_LOGIN",
                "SERVICE_STOP",
                "CONFIG_CHANGE",
                "DAEMON_END",
            }
            assert not other.data.get("Syscall") or not is_wanted(
                f"{other.data.get('Path')} {other.data.get('exe')} {other.data.get('key')}".encode()
            )
        for key in raw:
            if brief and key not in item:
                continue
            if few and (
                key in audit_sql._OF_FILES or (key == "CommandLine" and not other.data.get("IsExec"))
            ):
                continue
            assert str(item.get(key, "")) == str(other.data.get(key, "")), (key, place)
        assert item["_mw_salvaged"] == other.salvaged


def test_the_fast_way_of_large_files_agrees_with_the_whole_reader(tmp_path: Path) -> None:
    same(DATA / "audit_truncate.log")
    same(DATA / "audit_truncate.log", RAW)


HIDDEN = b"/var/mail/b ob".hex().upper()
BY_TITLE = b"rm\0-rf\0/home/eva/Maildir".hex().upper()


@pytest.mark.parametrize(
    ("number", "records"),
    [
        (
            "257",
            [
                f"PATH item=0 name={HIDDEN} inode=1 dev=fe:00 mode=0100600 ouid=0 ogid=8 rdev=00:00 nametype=NORMAL"
            ],
        ),
        ("257", [f"CWD cwd={HIDDEN}", 'PATH item=0 name="x" nametype=NORMAL']),
        ("59", ["EXECVE argc=2 a0=726D a1=" + HIDDEN]),
        ("59", ["PROCTITLE proctitle=" + BY_TITLE]),
        # The folder is an open one, which no record names.
        ("263", ['PATH item=0 name="cur" nametype=DELETE', "PROCTITLE proctitle=" + BY_TITLE]),
        ("263", ['PATH item=0 name="cur" nametype=DELETE', "PROCTITLE proctitle=" + BY_TITLE[:-2] + "\xff"]),
    ],
    ids=["name", "folder", "arguments", "title", "title of a deletion", "title that is cut"],
)
def test_what_is_hidden_in_hex_or_said_by_the_title_is_decoded(
    tmp_path: Path, number: str, records: list[str]
) -> None:
    """An event must never look clean because nobody decoded it; one that names no mail is brief."""
    lines = []
    for serial, clear in ((1, False), (2, True)):
        call = CALL.format(id=f"1772442190.100:{serial}", number=number, flags="0")
        others = [
            one.replace(HIDDEN, "2F736F6D657468696E6720656C7365").replace(BY_TITLE, "6C73002D6C")
            for one in records
        ]
        rest = (
            f"type={one.replace(' ', f' msg=audit(1772442190.100:{serial}): ', 1)}"
            for one in (others if clear else records)
        )
        lines += [call, *rest]
    lines.append(
        "type=CRYPTO_KEY_USER msg=audit(1772442190.200:3): pid=9 uid=0 auid=1 ses=1 msg='op=destroy kind=server exe=\"/usr/sbin/sshd\" hostname=? addr=? terminal=? res=success'"
    )
    path = tmp_path / "audit.log"
    path.write_bytes("\n".join(lines).encode("latin-1"))

    same(path)

    found = {item["AuditId"][-1]: item for item, _ in fast(path, FEW, is_brief=True)}
    assert "brief" not in found["1"]
    assert not found["1"].get("few")
    assert "brief" in found["3"]


def test_the_fast_way_loses_no_line_of_a_damaged_log(tmp_path: Path) -> None:
    lines = (DATA / "audit_truncate.log").read_bytes().splitlines()
    # Cut in the type, in the node, before the type, behind the id; bytes that are no text; another node; no node.
    hurt = [
        lines[0],
        lines[1].replace(b"type=", b"type=\xff\xfe"),
        lines[2].replace(b"msg=audit", b"\x00msg=audit"),
        lines[3][: lines[3].index(b")") + 1],
        b" " + lines[4],
        b"node=\xff" + lines[5],
        lines[6][len(b"type") :],
        b"type=\xff\xfeCALL msg=audit(1772442190.1:9): alone",
    ]
    path = tmp_path / "audit.log"
    path.write_bytes(b"\n".join([*hurt, *lines[7:]]))

    same(path)


def test_the_fast_way_agrees_on_recorded_logs(tmp_path: Path) -> None:
    paths = sorted(RECORDED.glob("*/audit.log")) + sorted((PUBLIC / "auditd-go-libaudit").glob("*.log"))
    if not paths:
        pytest.skip("the recorded scenarios are not beside this repository")
    assert sum(same(path) for path in paths) > 100


def test_a_large_file_is_loaded_in_stretches_with_every_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailwitness.sources.limits.BULK_BYTES", 1)
    monkeypatch.setattr(audit_batches, "PORTION_BYTES", 30_000)
    monkeypatch.setattr(audit_batches, "MARGIN_BYTES", 2000)
    monkeypatch.setattr(audit_batches, "CHUNK_BYTES", 20_000)
    lines = []
    for n in range(400):
        lines += [
            CALL.format(id=f"1772442190.1:{n}", number="87", flags="0"),
            f'type=PATH msg=audit(1772442190.1:{n}): item=0 name="/var/mail/u{n}" inode=1 dev=fe:00 mode=0100600 ouid=0 ogid=8 rdev=00:00 nametype=DELETE',
        ]
        lines += ["damaged \x00 line"] if n % 40 == 0 else []

    (row,) = run(tmp_path, {"audit.log": "\n".join(lines)})

    assert (row["records"], row["loaded"], row["quarantined"]) == (410, 400, 10)
    assert [r["ObjectName"] for r in acts(tmp_path)] == [f"/var/mail/u{n}" for n in range(400)]
    assert len({r["_Position"] for r in acts(tmp_path)}) == 400


def test_laurel_and_raw_records_say_the_same() -> None:
    paths = sorted(RECORDED.glob("*/laurel.jsonl"))
    if not paths:
        pytest.skip("the recorded scenarios are not beside this repository")
    for path in paths:
        raw = {record.data["AuditId"]: record.data for record in records(path.with_name("audit.log"))}
        for item in laurel.read(path):
            assert isinstance(item, RawRecord)
            other = raw[item.data["AuditId"]]
            for key in (
                "Syscall",
                "Path",
                "SourcePath",
                "FileAction",
                "Truncated",
                "OpenFlags",
                "CommandLine",
                "LoginUser",
                "UserName",
                "exe",
                "op",
                "res",
            ):
                assert item.data.get(key) == other.get(key), (path, key)


NOISE = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [line.encode() for line in (DATA / "audit_truncate.log").read_text().splitlines()]
    ).flatmap(lambda line: st.integers(0, len(line)).map(lambda cut: line[:cut])),
    st.sampled_from([line.encode() for line in (DATA / "audit_truncate.log").read_text().splitlines()]),
)


@settings(max_examples=80, deadline=None)
@given(lines=st.lists(NOISE, max_size=12))
def test_no_content_stops_the_reader_and_every_line_is_in_a_record_or_damage(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "audit.log"
    path.write_bytes(b"\n".join(lines))

    found = list(auditd.read(path))
    if path.stat().st_size:
        same(path, {"AuditId": "VARCHAR", "Micros": "BIGINT", "exe": "VARCHAR", "Path": "VARCHAR"})

    covered = bytearray(path.stat().st_size + 1)
    for item in found:
        covered[item.offset : item.offset + item.length + 2] = b"\1" * len(
            covered[item.offset : item.offset + item.length + 2]
        )
    place = 0
    for line in path.read_bytes().split(b"\n"):
        if line.strip():
            assert covered[place], line
        place += len(line) + 1
