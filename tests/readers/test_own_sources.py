"""The page about adding a source is followed word for word, and what a source may not do is refused."""

from __future__ import annotations

import datetime as dt
import importlib.util
import re
from pathlib import Path

import pytest

from mailwitness import own_sources
from mailwitness.errors import ContentError
from mailwitness.pipeline import Progress, Settings, investigate
from mailwitness.readers.blocks import Damage, RawRecord
from mailwitness.verification import verify

from ..case_runs import ask

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "add-a-source.md").read_text(encoding="utf-8")
NOW = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)


def _copy_page(folder: Path) -> None:
    for name, text in re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", PAGE, re.DOTALL):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def test_the_files_of_the_page_load_and_raise_a_finding(tmp_path: Path) -> None:
    """One YAML file makes an unknown log evidence: counted, in its table, seen by the shipped rules, and verified."""
    _copy_page(tmp_path)
    settings = Settings(now=NOW, proof="never", sources=(tmp_path / "sources",))

    case = investigate([tmp_path / "evidence"], tmp_path / "case", settings, Progress())

    exhibit = case.report["intake"][0]
    assert (exhibit["records"], exhibit["loaded"], exhibit["quarantined"]) == (2, 2, 0)
    assert case.report["summary"]["outcome"] == "found"
    assert all(line.ok for line in verify(tmp_path / "case"))
    # A query that needs more columns than were stored reads the evidence again, with the same sources.
    assert [row["AccountDomain"] for row in ask(tmp_path, "DeviceProcessEvents")] == ["CONTOSO", "CONTOSO"]


def test_without_the_source_the_same_log_blocks_the_outcome_clear(tmp_path: Path) -> None:
    """What nothing recognises never looks clear."""
    _copy_page(tmp_path)

    report = investigate(
        [tmp_path / "evidence"], tmp_path / "case", Settings(now=NOW, proof="never"), Progress()
    ).report

    assert report["summary"]["outcome"] == "not_evaluated"


def test_a_changed_source_is_noticed(tmp_path: Path) -> None:
    """The digest of a case covers the sources that read its evidence."""
    _copy_page(tmp_path)
    settings = Settings(now=NOW, proof="never", sources=(tmp_path / "sources",))
    investigate([tmp_path / "evidence"], tmp_path / "case", settings, Progress())
    source = tmp_path / "sources" / "watchdog.yaml"

    source.write_text(source.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")

    assert any(not line.ok and line.text.startswith("rule pack") for line in verify(tmp_path / "case"))


def test_the_reader_of_the_page_reads_its_sample(tmp_path: Path) -> None:
    """Every byte of a block is in a record or in damage, at its place."""
    _copy_page(tmp_path)
    code = re.search(r"<!-- reader -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert code
    module = tmp_path / "blocks_reader.py"
    module.write_text(code[1], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("blocks_reader", module)
    assert spec
    assert spec.loader
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)

    items = list(reader.read(tmp_path / "blocks.txt"))

    text = (tmp_path / "blocks.txt").read_bytes()
    assert [type(item) for item in items] == [RawRecord, Damage, RawRecord]
    assert [text[item.offset :].split(b"\n")[0] for item in items] == [
        b"at: 2026-03-02T09:14:01Z",
        b"torn",
        b"at: 2026-03-02T09:20:00Z",
    ]
    assert [item.line for item in items] == [1, 4, 7]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("line\n    ProcessId", "(SELECT content FROM read_text('/etc/passwd'))\n    ProcessId", "beyond"),
        ("ProcessId: pid", "ProcessId: (SELECT max(pid) FROM raw)", "beyond"),
        ("ProcessId: pid", "ProcessId: row_number() OVER ()", "beyond"),
        ("ProcessId: pid", "ProcessId: pid) FROM range(9) --", "more than one"),
        ("ProcessId: pid", "ProcessId: pid), (1", "more than one"),
        ("ProcessId: pid", "ProcessId: random()", "does not depend"),
        ('mw_time("at")\n    Timestamp', "now()\n    Timestamp", "does not depend"),
        ("DeviceName: host", "DeviceName: current_timestamp", "no key"),
        ("DeviceName: host", "DeviceName: user", "no key"),
        ("DeviceName: host", "DeviceName: current_setting('threads')", "does not depend"),
        ("kind = 'start'", "kind = 'start'; DROP TABLE x", "no SQL expression"),
        ("pid: BIGINT}", "pid: BIGINT) FROM x --}", "none of"),
        ("ProcessId: pid", "ProcessNumber: pid", "no column"),
        ("ProcessId: pid", "_Exhibit: pid", "no column"),
        ("table: DeviceProcessEvents", "table: MailboxActivity", "no table"),
        ("id: watchdog_process", "id: linux_syslog", "taken"),
        ("line\n    ProcessId", "nothing\n    ProcessId", "no key"),
        ("limits:", "reader: os\nlimits:", "no reader"),
        ("limits:", "prepare: ../evil\nlimits:", "no reader"),
        ("limits:", "also: [nowhere]\nlimits:", "no mapping"),
        ("AccountName: eva,", "AccountName: ada,", "fails"),
        ("kind: end,", "kind: start,", "fails"),
    ],
)
def test_a_source_that_reaches_further_or_fails_its_tests_is_refused(
    tmp_path: Path, before: str, after: str, reason: str
) -> None:
    """A file from elsewhere computes from its own record only, and says in one sentence what is wrong."""
    _copy_page(tmp_path)
    source = tmp_path / "sources" / "watchdog.yaml"
    text = source.read_text(encoding="utf-8")
    assert before in text
    source.write_text(text.replace(before, after, 1), encoding="utf-8")

    with pytest.raises(ContentError, match=reason):
        own_sources.read([source])


def test_a_folder_without_sources_is_refused(tmp_path: Path) -> None:
    """A mistyped folder must not look like one whose sources found nothing."""
    with pytest.raises(ContentError, match="no source"):
        own_sources.read([tmp_path])
