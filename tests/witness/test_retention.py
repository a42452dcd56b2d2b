"""Which missing lines rotation explains, which were cleared, and what nobody can say."""

from __future__ import annotations

import pytest

from mailwitness.witness.compare import Comparison, Difference
from mailwitness.witness.retention import Kept, counted, explain, of_journal, of_log

DAY = 86_400_000_000
RSYSLOG = """/var/log/syslog
/var/log/mail.log
{
\trotate 4
\tweekly
\tmissingok
\tpostrotate
\t\t/usr/lib/rsyslog/rsyslog-rotate
\t\t}
\tendscript
}
"""
FILES = {
    "/etc/logrotate.conf": "# common\nweekly\nrotate 4\ninclude /etc/logrotate.d\n",
    "/etc/logrotate.d/rsyslog": RSYSLOG,
}


def missing(number: int, days_old: float) -> Difference:
    return Difference(
        what="Missing", thing="LogLine", path="/var/log/mail.log", place="0", number=number, received_us=int((100 - days_old) * DAY)
    )  # fmt: skip


def causes(differences: list[Difference], kept: Kept, oldest_left: int) -> list[str]:
    before = Comparison(path="/var/log/mail.log", held=9, same=1, new=0, differences=differences)
    found = explain(before, kept, oldest_left=oldest_left, now_us=100 * DAY)
    return [one.cause for one in found.differences]


def test_the_oldest_lines_left_by_rotation_and_younger_ones_were_cleared() -> None:
    kept = of_log("/var/log/mail.log", FILES)

    assert (kept.days, kept.said) == (28.0, "/etc/logrotate.d/rsyslog: weekly, rotate 4")
    assert causes([missing(1, 40), missing(2, 20)], kept, oldest_left=5) == ["expired", "cleared"]


def test_a_line_behind_one_that_is_still_there_was_cleared_whatever_its_age() -> None:
    assert causes([missing(9, 90)], Kept(days=28, said="x"), oldest_left=5) == ["cleared"]
    assert causes([missing(9, 90)], Kept(days=None, said="x"), oldest_left=5) == ["cleared"]


def test_without_settings_nobody_knows() -> None:
    kept = of_log("/var/log/other.log", FILES)

    assert kept.days is None
    assert causes([missing(1, 400)], kept, oldest_left=5) == ["not known"]
    assert causes([missing(1, 400)], kept, oldest_left=-1) == ["not known"]


def test_what_is_altered_or_put_in_has_no_such_cause() -> None:
    altered = Difference(what="Altered", thing="LogLine", path="/var/log/mail.log", place="3", number=1)

    assert causes([altered], Kept(days=1, said="x"), oldest_left=5) == [""]


@pytest.mark.parametrize(
    ("block", "days"),
    [
        ("/var/log/*.log {\n daily\n rotate 7\n}", 7.0),
        ("/var/log/mail.log {\n rotate 2\n}", 14.0),
        ("/var/log/mail.log {\n daily\n rotate 90\n maxage 30\n}", 30.0),
        ("/var/log/mail.log {\n size 100M\n rotate 3\n}", None),
        ("/var/log/mail.log {\n daily\n rotate -1\n}", float("inf")),
        ('"/var/log/mail.log" /var/log/x {\n hourly\n rotate 48\n}', 2.0),
    ],
)
def test_logrotates_settings_are_read_as_it_reads_them(block: str, days: float | None) -> None:
    files = {"/etc/logrotate.conf": "weekly\nrotate 4\n", "/etc/logrotate.d/mail": block}

    assert of_log("/var/log/mail.log", files).days == days


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("[Journal]\nMaxRetentionSec=2week\n", 14.0),
        ("MaxRetentionSec=30day", 30.0),
        ("MaxRetentionSec=0", None),
        ("SystemMaxUse=1G", None),
    ],
)
def test_journalds_limit_of_time_is_read_and_its_limit_of_size_says_none(
    text: str, days: float | None
) -> None:
    assert of_journal({"/etc/systemd/journald.conf": text}).days == days


def test_the_causes_are_said_in_words() -> None:
    before = Comparison(
        path="/var/log/mail.log", held=9, same=1, new=0, differences=[missing(1, 40), missing(2, 20)]
    )

    found = explain(before, Kept(days=28, said="x"), oldest_left=5, now_us=100 * DAY)

    assert counted(found.differences) == "1 cleared, 1 left by rotation or expiry"
