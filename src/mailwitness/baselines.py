"""What is usual: how often an actor, mailbox, client, address or hour does something, counted from the evidence itself."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Literal

import msgspec

from mailwitness import finding_tables
from mailwitness.needs import TABLE as ACTIVITY
from mailwitness.tables import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from mailwitness.models import Finding

TABLE = "Baselines"
# Two weeks hold every weekday twice; with less, a Monday looks unusual because no Monday came before it.
MINIMUM_DAYS = 14
# A case shows so many comparisons; the table Baselines has all.
_SHOWN = 40

Kind = Literal["actor", "mailbox", "client", "address", "hour"]
_Key = tuple[str, str, str, str]

# One scan of the acts, by hour, of the accounts and mailboxes that the findings name.
_HOURLY = f"""
CREATE OR REPLACE TEMP TABLE mw_hourly AS
WITH subjects AS (
  SELECT lower(Actor) AS Name FROM {finding_tables.FINDINGS} UNION SELECT lower(Mailbox) FROM {finding_tables.FINDINGS}
), platforms AS (
  SELECT Platform, min(CAST(TimeGenerated AS DATE)) AS Began FROM {ACTIVITY} GROUP BY Platform
)
SELECT lower(a.Actor) AS Actor, lower(a.Mailbox) AS Mailbox, a.ClientApp, a.ClientIP, a.Activity,
  min(p.Began) AS Began, date_trunc('hour', a.TimeGenerated) AS Hour, min(a.TimeGenerated) AS FirstTime,
  max(a.TimeGenerated) AS LastTime, count(*) AS Acts
FROM {ACTIVITY} AS a JOIN platforms AS p USING (Platform)
WHERE a.TimeGenerated IS NOT NULL
  AND (lower(a.Actor) IN (SELECT Name FROM subjects WHERE Name <> '')
    OR lower(a.Mailbox) IN (SELECT Name FROM subjects WHERE Name <> ''))
GROUP BY ALL
"""

# kind -> (subject, detail, activity); details of an account are counted over everything it does.
_KINDS = {
    "actor": ("Actor", "''", "Activity"),
    "mailbox": ("Mailbox", "''", "Activity"),
    "client": ("Actor", "ClientApp", "''"),
    "address": ("Actor", "ClientIP", "''"),
    "hour": ("Actor", "strftime(Hour, '%H')", "''"),
}

_TABLE = """
SELECT Kind, Subject, Detail, Activity, min(FirstTime) AS FirstSeen, max(LastTime) AS LastSeen,
  date_diff('day', min(Began), max(Day)) AS HistoryDays, count(*) AS ActiveDays, CAST(sum(Acts) AS BIGINT) AS Acts,
  CAST(median(Acts) AS DOUBLE) AS MedianPerDay, CAST(quantile_cont(Acts, 0.95) AS DOUBLE) AS P95PerDay,
  max(Acts) AS MaxPerDay
FROM mw_daily GROUP BY Kind, Subject, Detail, Activity
"""

# The day itself never counts as its own history.
_COMPARED = f"""
WITH asked AS (
  SELECT DISTINCT lower(Actor) AS Actor, lower(Mailbox) AS Mailbox, ClientApp, ClientIP, Activity,
    date_trunc('hour', TimeGenerated) AS Hour
  FROM {finding_tables.ACTS} WHERE TimeGenerated IS NOT NULL
), days AS (
  {{asked}}
)
SELECT d.Kind, d.Subject, d.Detail, d.Activity, d.Day,
  coalesce(sum(h.Acts) FILTER (h.Day = d.Day), 0) AS OnTheDay,
  greatest(date_diff('day', min(h.Began), d.Day), 0) AS HistoryDays,
  count(*) FILTER (h.Day < d.Day) AS ActiveDays,
  coalesce(median(h.Acts) FILTER (h.Day < d.Day), 0) AS MedianPerDay,
  coalesce(max(h.Acts) FILTER (h.Day < d.Day), 0) AS MaxPerDay
FROM days AS d JOIN mw_daily AS h USING (Kind, Subject, Detail, Activity)
GROUP BY d.Kind, d.Subject, d.Detail, d.Activity, d.Day
ORDER BY ALL
"""


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did on the day of a finding, beside what they did on the days before.

    Attributes:
        kind: what is compared; a detail (client, address, hour of the day) is one of the actor's.
        actor: the account, or the mailbox for kind ``mailbox``, lower case.
        activity: empty for a detail, which is counted over everything the actor does.
        history_days: days of evidence before the day, since the first record of the platform.
        active_days: those of them with at least one such act.
        median_per_day: on the active days.
        most_per_day: on any day before.
    """

    kind: str
    actor: str
    detail: str
    activity: str
    day: str
    on_the_day: int
    history_days: int
    active_days: int
    median_per_day: float
    most_per_day: int

    @property
    def enough(self) -> bool:
        """Tell whether the history is long enough to say what is usual."""
        return self.history_days >= MINIMUM_DAYS

    @property
    def is_unusual(self) -> bool:
        """Tell whether there was more of it than on any day before."""
        return self.on_the_day > self.most_per_day

    @property
    def answer(self) -> str:
        """Return ``unusual``, ``usual``, or ``not_evaluated`` when the history is too short."""
        if not self.enough:
            return "not_evaluated"
        return "unusual" if self.is_unusual else "usual"

    def words(self) -> str:
        """Return the comparison as a sentence with its numbers."""
        what = {
            "client": f"acts through {self.detail}",
            "address": f"acts from {self.detail}",
            "hour": f"acts in the hour from {self.detail}:00 UTC",
            "mailbox": f"{self.activity} in this mailbox",
        }.get(self.kind, self.activity)
        begin = f"{self.actor}: {self.on_the_day} {what} on {self.day}"
        if not self.enough:
            return f"{begin}; only {self.history_days} days of evidence before, {MINIMUM_DAYS} are needed to say what is usual"
        if not self.active_days:
            return f"{begin}, none in the {self.history_days} days before"
        return (
            f"{begin}; on {self.active_days} of the {self.history_days} days before, "
            f"usually {self.median_per_day:g} and at most {self.most_per_day} a day"
        )


class History:
    """The comparisons of a run, asked by story."""

    def __init__(self, compared: Sequence[Usual] = ()) -> None:
        """Take all comparisons of the run."""
        self._by_key: dict[_Key, list[Usual]] = {}
        for one in compared:
            self._by_key.setdefault((one.kind, one.actor, one.detail, one.activity), []).append(one)

    def of(self, findings: Sequence[Finding]) -> tuple[Usual, ...]:
        """Return the comparisons for what the findings of one story show; the day with most acts of each."""
        days: dict[_Key, set[str]] = {}
        for finding in findings:
            if finding.actor_type != "System" and finding.time is not None:
                for key in _keys(finding, finding.time):
                    days.setdefault(key, set()).add(finding.time.date().isoformat())
        found = []
        for key, asked in days.items():
            fitting = [one for one in self._by_key.get(key, []) if one.day in asked]
            if fitting:
                # Later days of a long attack would make the attack its own history.
                first = min(fitting, key=lambda one: one.day)
                most = max(fitting, key=lambda one: (one.on_the_day, one.day))
                found.append(
                    msgspec.structs.replace(
                        most,
                        history_days=first.history_days,
                        active_days=first.active_days,
                        median_per_day=first.median_per_day,
                        most_per_day=first.most_per_day,
                    )
                )
        return tuple(sorted(found, key=_rank))[:_SHOWN]


def _rank(one: Usual) -> tuple[int, int, str, str, str]:
    """Put what is unusual first, and acts before details."""
    order = {"unusual": 0, "usual": 1, "not_evaluated": 2}
    return order[one.answer], list(_KINDS).index(one.kind), one.actor, one.activity, one.detail


def _keys(finding: Finding, time: dt.datetime) -> list[_Key]:
    actor, mailbox = finding.actor.lower(), finding.mailbox.lower()
    activity = str(finding.evidence.get("Activity") or "")
    client = str(finding.evidence.get("ClientApp") or "")
    keys: list[_Key] = []
    if actor and activity:
        keys.append(("actor", actor, "", activity))
    if mailbox and activity:
        keys.append(("mailbox", mailbox, "", activity))
    if actor:
        details = {"client": client, "address": finding.address, "hour": f"{time.hour:02}"}
        keys += [(kind, actor, detail, "") for kind, detail in details.items() if detail]
    return keys


def compute(connection: duckdb.DuckDBPyConnection) -> History:
    """Count what is usual, make the table Baselines, and compare the days of the findings with it.

    Args:
        connection: has MailboxActivity, Findings and FindingActs.
    """
    connection.execute(_HOURLY)
    daily = " UNION ALL ".join(
        _grouped(kind, "mw_hourly", "min(Began) AS Began, min(FirstTime) AS FirstTime, max(LastTime) AS LastTime, "
                 "CAST(sum(Acts) AS BIGINT) AS Acts")
        for kind in _KINDS
    )  # fmt: skip
    connection.execute(f"CREATE OR REPLACE TEMP TABLE mw_daily AS {daily}")
    finding_tables.replace(connection, TABLE, _TABLE)
    asked = " UNION ALL ".join(_grouped(kind, "asked", "1 AS Asked") for kind in _KINDS)
    return History([_usual(row) for row in rows(connection.execute(_COMPARED.format(asked=asked)))])


def _grouped(kind: str, table: str, counted: str) -> str:
    subject, detail, activity = _KINDS[kind]
    return (
        f"SELECT '{kind}' AS Kind, {subject} AS Subject, {detail} AS Detail, {activity} AS Activity, "
        f"CAST(Hour AS DATE) AS Day, {counted} FROM {table} WHERE {subject} <> '' AND ({detail} <> '' OR {activity} <> '') "
        "GROUP BY 1, 2, 3, 4, 5"
    )


def _usual(row: dict[str, object]) -> Usual:
    return Usual(
        kind=str(row["Kind"]),
        actor=str(row["Subject"]),
        detail=str(row["Detail"]),
        activity=str(row["Activity"]),
        day=str(row["Day"])[:10],
        on_the_day=int(str(row["OnTheDay"])),
        history_days=int(str(row["HistoryDays"])),
        active_days=int(str(row["ActiveDays"])),
        median_per_day=float(str(row["MedianPerDay"])),
        most_per_day=int(str(row["MaxPerDay"])),
    )
