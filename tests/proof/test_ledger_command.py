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


def test_fifty_thousand_messages_with_five_records_each_fit_into_a_small_memory() -> None:
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
    bench.connection.execute("SET memory_limit = '200MB'")

    rows = ledger.build(
        bench.connection, bench.work / "ledger.parquet", bench.work, present=set(TABLES), exhibits=[], now=NOW
    )

    verdicts = bench.connection.execute(
        f"SELECT Verdict, count(*), min(Records) FROM read_parquet('{bench.work / 'ledger.parquet'}') GROUP BY 1"
    ).fetchall()
    bench.close()
    assert rows == 50_000
    assert verdicts == [("deleted with record", 50_000, 5)]
