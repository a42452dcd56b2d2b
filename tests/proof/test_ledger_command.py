"""The ledger as a person asks for it, and its cost."""

from __future__ import annotations

import csv
import datetime as dt
import io
from pathlib import Path
from typing import TYPE_CHECKING

from mailwitness import messages
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.proof import ledger

from .histories import NOW, TABLES, Bench

if TYPE_CHECKING:
    import pytest

TRACE = (
    "Received,SenderAddress,RecipientAddress,Subject,Status,ToIP,FromIP,Size,MessageId,MessageTraceId\n"
    '2026-03-02T08:00:00,a@fabrikam.example,eva@contoso.example,"=cmd|\'/c calc\'!A1",Delivered,,192.0.2.1,100,"=1+1@x.example",t1\n'
)


def test_a_case_without_ledger_gets_it_when_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trace.csv").write_text(TRACE)
    settings = Settings(now=dt.datetime(2026, 3, 31, tzinfo=dt.UTC), proof="never")
    report = investigate([tmp_path / "trace.csv"], tmp_path / "case", settings, Progress()).report

    messages.ledger(tmp_path / "case", mailbox="eva", gone=False, form="csv", limit=10)

    assert report["ledger"]["is_computed"] is False
    assert any(
        "ledger" in one["what"] and "--proof always" in one["remedy"] for one in report["not_evaluated"]
    )
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["Verdict"] == "unknown"
    assert row["Subject"].startswith("'=")
    assert row["MessageId"].startswith("'=")


def test_fifty_thousand_messages_with_five_records_each_fit_into_a_small_memory_and_are_the_same() -> None:
    bench = Bench()
    for name in TABLES:
        bench.fill(name, [])
    bench.connection.execute(
        """INSERT INTO MailboxActivity BY NAME
        SELECT TIMESTAMP '2026-03-01' + INTERVAL 1 SECOND * (i + 60 * k) AS TimeGenerated, ['Delivered', 'Moved', 'Updated', 'Updated', 'HardDeleted'][k + 1] AS Activity,
          'Succeeded' AS ActivityResult, 'user' || (i % 500) || '@contoso.example' AS Mailbox, '<m' || i || '@x.example>' AS MessageId, 'ExchangeOnline' AS Platform, 'OfficeActivity' AS SourceTable,
          '' AS Operation, '' AS ItemId, '' AS Subject, '' AS Actor, '' AS ActorType, '' AS SessionId, '' AS ClientIP, '' AS Host, 'Inbox' AS Folder, 'Inbox' AS FolderKind, '' AS DestinationFolder,
          'Archive' AS DestinationFolderKind, 1 AS ItemCount, 'E1' AS _Exhibit, i * 5 + k AS _Position
        FROM range(50000) t(i), range(5) s(k)"""
    )
    found = []
    for memory in ("2GB", "200MB"):
        bench.connection.execute(f"SET memory_limit = '{memory}'")
        target = bench.work / f"ledger-{memory}.parquet"
        rows = ledger.build(bench.connection, target, bench.work, present=set(TABLES), exhibits=[], now=NOW)
        found.append(bench.connection.execute(f"SELECT * FROM read_parquet('{target}')").fetchall())
        assert rows == 50_000

    columns = [column[0] for column in bench.connection.description or []]
    verdicts = {(row[columns.index("Verdict")], row[columns.index("Records")]) for row in found[0]}
    bench.close()
    assert verdicts == {("deleted with record", 5)}
    assert found[0] == found[1], "computed in one part and in several, row by row in the same order"
