"""Rows of LinuxAuditLog as a Sentinel workspace keeps them say what was done to mail stores."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..case_runs import acts, run
from ..engine.cases import Json, loaded

COLUMNS = "TimeGenerated [UTC],Computer,SerialNumber,AuditID,RecordType,syscall,success,exe,comm,auid,audit_user,uid,name,cwd,a0,a1,a2,cmd,Type"
ROWS = (
    "SYSCALL,unlinkat,yes,/usr/bin/rm,rm,1004,mallory,0,eva,/var/spool/mail,,,,",
    "SYSCALL,openat,yes,/usr/bin/bash,bash,1004,,0,/var/mail/eva,,,7ffe,241,",
    "AUOMS_EXECVE,execve,yes,/usr/bin/doveadm,doveadm,1004,,0,,,,,,doveadm expunge -u eva mailbox INBOX all",
    "EXECVE,,,,,,,,,,shred,-u,/var/mail/eva,",
    "SYSCALL,unlink,no,/usr/bin/rm,rm,4294967295,,0,/var/mail/eva,,,,,",
)


def _row(number: int, text: str) -> str:
    return f'"3/2/2026, 9:14:0{number}.000 AM",mx1,85{number},1772442201.349:85{number},{text},LinuxAuditLog'


def test_exported_rows_carry_file_flags_command_and_login() -> None:
    """The columns that rules read are filled from the row's own; a call that failed did nothing."""
    text = "\n".join([COLUMNS, *(_row(number, row) for number, row in enumerate(ROWS)), ""])

    with loaded(text.encode()) as found:
        rows = found.rows("LinuxAuditLog")

    def shown(row: Json) -> tuple[object, ...]:
        return tuple(
            row[name]
            for name in ("LoginUser", "ObjectPath", "FileAction", "IsTruncation", "StoreKind", "MailCommand")
        )

    assert [shown(row) for row in rows] == [
        ("mallory", "/var/mail/eva", "FileDeleted", False, "mbox", ""),
        ("1004", "/var/mail/eva", "FileModified", True, "mbox", ""),
        ("1004", "", "", False, "", "CommandExecuted"),
        ("", "", "", None, "", "CommandExecuted"),
        ("", "/var/mail/eva", "", False, "mbox", ""),
    ]


def test_a_row_of_the_custom_table_is_one_of_the_public_table() -> None:
    """Agents before 2020 wrote LinuxAudit_CL, whose columns end in the kind of their values."""
    row = b'{"TimeGenerated":"2026-03-02T09:14:01Z","Computer":"mx1","SerialNumber_d":851,"syscall_s":"unlink","success_s":"yes","exe_s":"/usr/bin/rm","auid_s":"1004","name_s":"/var/mail/eva","RecordType_s":"SYSCALL","Type":"LinuxAudit_CL"}\n'

    with loaded(row) as found:
        (only,) = found.rows("LinuxAuditLog")

    assert (only["FileAction"], only["ObjectPath"], only["StoreOwner"]) == (
        "FileDeleted",
        "/var/mail/eva",
        "eva",
    )


SEPARATE = (
    (
        "SYSCALL",
        "syscall=openat success=yes a1=7ffe a2=241 auid=1004 audit_user=mallory euid=0 exe=/usr/bin/bash",
    ),
    ("CWD", "cwd=/var/spool/mail"),
    ("PATH", "name=/var/spool/mail nametype=PARENT"),
    ("PATH", "name=eva nametype=NORMAL"),
)
MOVED = (
    ("SYSCALL", "syscall=rename success=yes auid=1004 audit_user=mallory exe=/usr/bin/mv"),
    ("CWD", "cwd=/root"),
    ("PATH", "name=/var/spool/mail/ nametype=PARENT"),
    ("PATH", "name=/home/mallory/ nametype=PARENT"),
    ("PATH", "name=/var/spool/mail/bob nametype=DELETE"),
    ("PATH", "name=/home/mallory/x nametype=CREATE"),
)


def _separate(event: int, rows: tuple[tuple[str, str], ...]) -> list[bytes]:
    """Write the rows of one event as an agent sends them."""
    written: list[bytes] = []
    for kind, told in rows:
        cells = {
            "TimeGenerated": "2026-03-02T09:14:01Z",
            "Computer": "mx1",
            "AuditID": f"1772442201.349:{event}",
        }
        cells |= {"RecordType": kind, "Type": "LinuxAuditLog"} | dict(
            word.split("=") for word in told.split()
        )
        written.append(json.dumps(cells).encode())
    return written


@pytest.mark.parametrize("order", [1, -1], ids=["in the order of the kernel", "newest first"])
def test_rows_of_one_event_are_brought_together(order: int) -> None:
    """The name stands in one row, the call and the login in another; what is done counts once, in either order."""
    lines = _separate(1, SEPARATE) + _separate(2, MOVED)

    with loaded(b"\n".join(lines[::order])) as found:
        rows = found.rows("LinuxAuditLog")[::order]

    told = [row for row in rows if row["FileAction"] and row["ObjectPath"]]
    columns = (
        "LoginUser",
        "FileAction",
        "ObjectPath",
        "SourcePath",
        "IsTruncation",
        "StoreKind",
        "SourceOwner",
    )
    assert len(rows) == len(lines)
    assert [tuple(row[name] for name in columns) for row in told] == [
        ("mallory", "FileModified", "/var/mail/eva", "", True, "mbox", ""),
        ("mallory", "FileRenamed", "/home/mallory/x", "/var/mail/bob", False, "", "bob"),
    ]


def test_rows_of_a_parquet_file_are_brought_together_as_those_of_text(tmp_path: Path) -> None:
    """Lists stay lists; a row without a time is kept apart, and the rows around it keep their numbers."""
    cells = [json.loads(line) for line in _separate(1, SEPARATE) + _separate(2, MOVED)]
    listed = {"RecordType": "AUOMS_SYSCALL", "syscall": "unlinkat", "success": "yes", "path_name": ["/var/mail/", "/var/mail/zoe"],
              "path_nametype": ["PARENT", "DELETE"]}  # fmt: skip
    cells.append(cells[0] | listed | {"AuditID": "1772442201.349:9"})
    cells.insert(1, {"Computer": "mx1", "RecordType": "CWD"})
    names = sorted({name for row in cells for name in row})
    table = pa.table({name: [row.get(name) for row in cells] for name in names})
    pq.write_table(table, tmp_path / "rows.parquet")

    with loaded(b"\n".join(json.dumps(row).encode() for row in cells)) as found:
        expected, counts = found.rows("LinuxAuditLog"), found.counts()
    with loaded((tmp_path / "rows.parquet").read_bytes()) as found:
        assert found.rows("LinuxAuditLog") == expected
        assert found.counts() == counts == (len(cells), len(cells) - 1, 0, 1)
    assert {row["FileAction"] for row in expected} >= {"FileModified", "FileRenamed", "FileDeleted"}


def test_what_rows_say_together_becomes_acts(tmp_path: Path) -> None:
    """The act has the login of one row and the file of another."""
    run(tmp_path, {"audit.json": b"\n".join(_separate(1, SEPARATE) + _separate(2, MOVED))})

    assert [(row["Activity"], row["Actor"], row["Mailbox"]) for row in acts(tmp_path)] == [
        ("StoreFileTruncated", "mallory", "eva"),
        ("StoreFileDeleted", "mallory", "bob"),
    ]


def test_a_path_of_another_event_meets_no_call() -> None:
    """A serial of another host or another event says nothing about this file, and a refused call did nothing."""
    call, _, _, name = _separate(1, SEPARATE)
    refused = _separate(
        3, (("SYSCALL", SEPARATE[0][1].replace("success=yes", "success=no")), ("PATH", "name=/var/mail/zoe"))
    )
    lines = [call, name.replace(b':1"', b':2"'), name.replace(b"mx1", b"mx2"), *refused]

    with loaded(b"\n".join(lines)) as found:
        assert [row["FileAction"] for row in found.rows("LinuxAuditLog")] == ["FileModified", "", "", "", ""]


def test_the_paths_that_auoms_lists_are_read() -> None:
    """AUOMS sends one row with the folder as its name and all paths in a list; its custom table ends names in their kind."""
    row = (
        b'{"TimeGenerated":"2026-03-02T09:14:01Z","Computer":"mx1","SerialNumber_d":851,"syscall_s":"unlinkat","success_s":"yes",'
        b'"exe_s":"/usr/bin/rm","auid_s":"1004","name_s":"/var/mail/","path_name_s":"[\\"/var/mail/\\",\\"/var/mail/eva\\"]",'
        b'"path_nametype_s":"[\\"PARENT\\",\\"DELETE\\"]","RecordType_s":"AUOMS_SYSCALL","Type":"LinuxAudit_CL"}\n'
    )

    with loaded(row) as found:
        (only,) = found.rows("LinuxAuditLog")

    assert (only["FileAction"], only["ObjectPath"], only["StoreOwner"]) == (
        "FileDeleted",
        "/var/mail/eva",
        "eva",
    )


FORWARDED = (
    'type=SYSCALL msg=audit(1772442201.349:851): arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c a1=7ff a2=241 a3=1b6 items=1 ppid=1 pid=2 auid=1004 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts1 ses=14 comm="bash" exe="/usr/bin/bash" key=(null)',
    'type=CWD msg=audit(1772442201.349:851): cwd="/root"',
    'type=PATH msg=audit(1772442201.349:851): item=0 name="/var/mail/eva" inode=1 dev=fe:00 mode=0100600 ouid=0 ogid=8 rdev=00:00 nametype=NORMAL',
)


@pytest.mark.parametrize(
    "header", ["Mar  2 09:03:21 mx1 audispd: ", "<13>2026-03-02T09:03:21+00:00 mx1 audisp-syslog[77]: "]
)
def test_forwarded_records_are_the_events_they_were(header: str) -> None:
    """A file of audit lines behind headers of syslog is an audit log, and the host of the header is the node."""
    with loaded("\n".join(header + line for line in FORWARDED).encode()) as found:
        (row,) = found.rows("LinuxAuditLog")

    assert (row["Computer"], row["ObjectPath"], row["IsTruncation"], row["LoginUser"]) == (
        "mx1",
        "/var/mail/eva",
        True,
        "1004",
    )


def test_a_syslog_with_audit_lines_among_others_stays_a_syslog() -> None:
    """Lines of other programs would be lost to an audit log."""
    lines = [f"Mar  2 09:03:21 mx1 audispd: {line}" for line in FORWARDED] + [
        "Mar  2 09:03:22 mx1 dovecot: text"
    ]

    with loaded("\n".join(lines).encode()) as found:
        assert len(found.rows("Syslog")) == len(lines)
