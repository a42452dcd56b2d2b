"""What Sieve scripts do to messages: as this tool reads them, and as Pigeonhole does it where that is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from mailwitness.proof import sieve
from mailwitness.proof.readings import Reading

# Dovecot reads no mail as root, and pytest's own folders are closed to others.
_NOBODY = 65534

MESSAGES = {
    "alert": ("Security <security@corp.example>", "Security alert 1", "<a@x.example>"),
    "reset": ("partner@ext.example", "Your PASSWORD reset", "<b@x.example>"),
    "lunch": ("bob@corp.example", "lunch?", "<c@x.example>"),
    "invoice": ("Billing <billing@fabrikam.example>", "Invoice 100*", "<d@fabrikam.example>"),
}
# Script -> what is certain of each message: T taken away from the inbox, K kept in it, ? cannot be told from a log.
SCRIPTS: dict[str, tuple[str, dict[str, str]]] = {
    "one test": ('if header :contains "subject" "alert" { discard; }', {"alert": "T", "reset": "K", "lunch": "K"}),
    "list and stop": (
        'require "fileinto"; if header :contains "subject" ["RESET","invoice"] { fileinto "Trash"; stop; } keep;',
        {"alert": "K", "reset": "T", "invoice": "T"},
    ),
    "keep beside discard": (
        'if header :contains "subject" "alert" { discard; } if header :contains "subject" "Security" { keep; }',
        {"alert": "K", "lunch": "K"},
    ),
    "elsif and else": (
        'require "fileinto"; if header :is "subject" "lunch?" { keep; } elsif address :domain "from" "ext.example" { discard; } else { fileinto "Other"; }',
        {"alert": "T", "reset": "T", "lunch": "K"},
    ),
    "not and anyof": (
        'if not anyof (header :contains "subject" "lunch", address :is "from" "security@corp.example") { discard; }',
        {"alert": "K", "reset": "T", "lunch": "K", "invoice": "T"},
    ),
    "glob": ('if header :matches "subject" "Security * ?" { discard; }', {"alert": "T", "reset": "K"}),
    "escaped star": (r'if header :matches "subject" "*\\*" { discard; }', {"invoice": "T", "lunch": "K"}),
    "localpart": ('if address :localpart "from" "billing" { discard; }', {"invoice": "T", "lunch": "K"}),
    "octet": ('if header :comparator "i;octet" :contains "subject" "security" { discard; }', {"alert": "K"}),
    "envelope": ('require "envelope"; if envelope :is "from" "partner@ext.example" { discard; }', {"lunch": "T"}),
    "copy": ('require ["fileinto","copy"]; fileinto :copy "Archive"; redirect :copy "x@fabrikam.example";', {"lunch": "K"}),
    "redirect": ('if header :contains "subject" "invoice" { redirect "x@fabrikam.example"; }', {"invoice": "T", "lunch": "K"}),
    "variables": (
        'require ["variables","fileinto"]; set "word" "alert"; if header :contains "subject" "${word}" { fileinto "${word}s"; }',
        {"alert": "T", "lunch": "K"},
    ),
    "dollar without variables": ('if header :contains "subject" "${word}" { discard; }', {"alert": "K"}),
    "regex": ('require "regex"; if header :regex "subject" "^invoice [0-9]{3}" { discard; }', {"invoice": "T", "alert": "K"}),
    "text block": ('if header :contains "subject" text:\nalert\n.\n { discard; } # none', {"lunch": "K"}),
    "comment": ("/* if true { discard; } */ if false { discard; } # discard;", {"alert": "K"}),
    "stop before": ('if header :contains "subject" "lunch" { stop; } discard;', {"lunch": "K", "alert": "T"}),
    "nested": (
        'if header :contains "subject" "e" { if allof (true, not header :contains "subject" "reset") { discard; stop; } } keep;',
        {"alert": "T", "reset": "K", "lunch": "K"},
    ),
    "body": ('require "body"; if body :contains "wire" { discard; }', {"alert": "?", "lunch": "?"}),
    "size": ("if size :over 1M { discard; }", {"alert": "?"}),
    "sender's name": ('if header :contains "from" "Security" { discard; }', {"alert": "T", "lunch": "?"}),
    "both": (
        'if allof (header :contains "subject" "alert", exists "x-spam") { discard; }',
        {"alert": "?", "lunch": "K"},
    ),
    "flags": (
        'require ["imap4flags","fileinto"]; if header :contains "subject" "alert" { fileinto :flags "\\\\Seen" "INBOX"; }',
        {"alert": "K", "lunch": "K"},
    ),
}  # fmt: skip


def can_run(pattern: str) -> bool:
    try:
        duckdb.execute("SELECT regexp_matches('', ?)", [pattern])
    except duckdb.Error:
        return False
    return True


def fits(reading: Reading, message: str, parts: frozenset[str] = frozenset({"destroys", "hides"})) -> str:
    """Return T when it is taken away, K when it is kept, ? when that cannot be told."""
    sender, subject, message_id = MESSAGES[message]
    address = re.sub(r".*<(.*)>", r"\1", sender)
    clauses = [one for one in reading.clauses if any(act.part in parts for act in one.acts)]
    if not clauses:
        return "K"
    sql = " OR ".join(one.condition.sql for one in clauses)
    row = "SELECT ? AS Subject, ? AS Sender, 'partner@ext.example' AS Envelope, 'alice' AS Recipient, ? AS MessageId"
    found = duckdb.execute(f"SELECT {sql} FROM ({row}) AS m", [subject, address, message_id]).fetchall()[0][0]
    return {True: "T", False: "K", None: "?"}[found]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mailwitness-") as made:
        folder = Path(made)
        folder.chmod(0o777)
        yield folder


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_takes_the_messages_that_it_should(name: str) -> None:
    text, expected = SCRIPTS[name]

    reading = sieve.read(text, can_run)

    assert expected == {message: fits(reading, message) for message in expected}
    assert not reading.unread
    assert bool(reading.unjudged()) == ("?" in expected.values())


@pytest.mark.skipif(shutil.which("sieve-test") is None, reason="Pigeonhole's sieve-test is not installed")
def test_pigeonhole_does_to_every_message_what_was_read(open_folder: Path) -> None:
    tmp_path = open_folder
    settings = tmp_path / "dovecot.conf"
    settings.write_text(
        f"mail_uid = {os.getuid() or _NOBODY}\nmail_gid = {os.getgid() or _NOBODY}\nfirst_valid_uid = 1\nmail_location = maildir:{tmp_path}/mail\nlog_path = /dev/stderr\nssl = no\n"
        f"base_dir = {tmp_path}/run\nplugin {{\n sieve = file:{tmp_path}/none.sieve\n}}\n"
    )
    for message, (sender, subject, message_id) in MESSAGES.items():
        (tmp_path / message).write_text(
            f"From: {sender}\nTo: alice@corp.example\nSubject: {subject}\nMessage-ID: {message_id}\n\nhello\n"
        )
    compared = 0

    for name, (text, _) in SCRIPTS.items():
        (tmp_path / "s.sieve").write_text(text)
        reading = sieve.read(text, can_run)
        for message in MESSAGES:
            told = fits(reading, message)
            really = _really(tmp_path, settings, message)
            assert told in {"?", really}, (name, message)
            compared += told != "?"

    assert compared > 80


def _really(folder: Path, settings: Path, message: str) -> str:
    """Return T when Pigeonhole leaves nothing of the message in the inbox, else K."""
    command = ["sieve-test", "-c", str(settings), "-f", "partner@ext.example", "-a", "alice@corp.example", str(folder / "s.sieve"), str(folder / message)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "final result: success" in done.stdout + done.stderr, done.stdout + done.stderr
    return "K" if re.search(r"store message in folder: INBOX", done.stdout) else "T"


def test_words_say_what_a_script_does() -> None:
    reading = sieve.read(
        'require ["fileinto","imap4flags","editheader"];\n'
        'if header :contains "subject" ["invoice","MFA"] { discard; stop; }\n'
        'if address :is "from" "security@corp.example" { addflag "\\\\Seen"; fileinto "Archive"; }\n'
        'deleteheader "X-Spam-Status";\n',
        can_run,
    )

    assert reading.does(is_whole=True) == (
        "discards the message whose subject contains invoice or MFA; "
        "moves the message to Archive whose sender is security@corp.example, marks it as read; "
        "removes the header X-Spam-Status that no earlier line took"
    )


@pytest.mark.parametrize(
    "text",
    [
        "discard",
        'if header "subject" { discard; ',
        '"discard";',
        "if true { discard; }}",
        'if header :contains "subject" "a { discard; }',
        "text:\nno end",
        "\x00discard;",
        "if " + "not " * 5000 + "true { discard; }",
        "if true {" * 5000,
        "(" * 100_000,
        "/*" * 100_000,
        '"' * 99_999,
        "keep;" * 60_000,
        "#" * 2_000_000,
    ],
)
def test_a_script_that_cannot_be_parsed_takes_nothing_and_says_so(text: str) -> None:
    reading = sieve.read(text, can_run)

    assert not reading.clauses
    assert reading.unread[0].startswith("the script (")


@pytest.mark.parametrize(
    "text",
    [
        'require "vnd.example.burn"; burn "all";',
        'require "foreverypart"; foreverypart { discard; }',
    ],
)
def test_a_command_that_is_not_known_is_named(text: str) -> None:
    reading = sieve.read(text, can_run)

    assert reading.unread
    assert reading.does(is_whole=True).startswith("not understood: ")


def test_a_quote_in_a_script_stays_text() -> None:
    reading = sieve.read('if header :contains "subject" "\'); DROP TABLE x; --" { discard; }', can_run)

    assert [fits(reading, message) for message in MESSAGES] == ["K"] * 4


def test_a_long_chain_of_rules_is_still_run() -> None:
    rules = "".join(f'if header :contains "subject" "word{i}" {{ discard; stop; }}\n' for i in range(120))

    reading = sieve.read(rules + 'if header :contains "subject" "alert" { discard; }', can_run)

    assert (fits(reading, "alert"), fits(reading, "lunch")) == ("T", "K")
