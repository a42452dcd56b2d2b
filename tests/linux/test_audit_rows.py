"""Rows of LinuxAuditLog as a Sentinel workspace keeps them say what was done to mail stores."""

from __future__ import annotations

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
