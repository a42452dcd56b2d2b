"""The whole flow, in one direction: seal, load, normalise, detect, group, report."""

from __future__ import annotations

import datetime as dt
import importlib
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mailwitness import (
    __version__,
    activities,
    baselines,
    cases,
    chains,
    explanations,
    findings,
    local_knowledge,
    own_sources,
    pictures,
    same_act,
    tables,
)
from mailwitness import outcome as outcome_document
from mailwitness.ahead import Ahead
from mailwitness.chain_matches import as_finding
from mailwitness.content import exclusions, pack
from mailwitness.early import Early
from mailwitness.errors import MailwitnessError
from mailwitness.evidence import custody, store
from mailwitness.exhibits import Exhibits
from mailwitness.investigation import case_tables, investigation
from mailwitness.kql import KqlEngine
from mailwitness.models import ChainMatch, Exhibit, Finding, NotEvaluated, RuleOutcome
from mailwitness.neighbours import Neighbours
from mailwitness.open_case import (
    OpenCase,
    early,
    needed,
    new_engine,
    open_case,
    queries,
    question_queries,
    questioned,
)
from mailwitness.proof import computing, ledger, recoverability, setting_summary, sight, summary
from mailwitness.run_settings import Progress, Settings
from mailwitness.sources import Intake

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from mailwitness.blind_rules import Evidence
    from mailwitness.content.schemas import Rule

__all__ = [
    "PROOF_BYTES",
    "TOOL",
    "Progress",
    "Result",
    "Settings",
    "elapsed_since_start",
    "given_of",
    "investigate",
    "open_tables",
]

TOOL = f"mailwitness {__version__}"
_ABSENT_AUDIT = "Export the audit log without that filter, and check that auditing was on."
_ABSENT_APART = "Give them too if you have them: they are exported by themselves, and none exist where nothing of the kind was done."
_ABSENT_HOST = "Turn that logging on for the next time; the mail store, its index files and a copy of the logs may still show it."
# The proof needs values that a first pass leaves out; up to this size nobody notices what that costs.
PROOF_BYTES = 256 * 1024 * 1024


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run: the report as written, and where it lies."""

    report: dict[str, Any]  # Any: the JSON document of report/schema.json
    case: Path


def investigate(
    paths: Iterable[Path], case: Path, settings: Settings, progress: Progress, begun: Early | None = None
) -> Result:
    """Investigate evidence and write the case.

    Args:
        paths: files and folders.
        case: the case folder; a new or an existing one, whose earlier exhibits stay part of it.
        settings: see Settings.
        progress: is told what happens.
        begun: what was begun for these paths before; the caller closes it.

    Raises:
        MailwitnessError: the run as a whole cannot be done; single bad inputs never raise.
    """
    folder = store.CaseFolder(case)
    given = list(paths)
    with folder.lock(), closing(Early(given)) if begun is None else nullcontext(begun) as early:
        run = _Run(folder, settings, progress, early)
        try:
            return run.all(given)
        finally:
            run.close()


class _Run:
    """State of one run: the custody log, the exhibits, and the database."""

    def __init__(
        self, folder: store.CaseFolder, settings: Settings, progress: Progress, early: Early
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.progress = progress
        self.knowledge = local_knowledge.knowledge(
            settings.rules, settings.watchlists, settings.parameters, settings.sources
        )
        self.own_sources = own_sources.read(settings.sources)
        self.log = custody.CustodyLog(folder.custody, now=settings.now, tool=TOOL)
        self.log.append(
            "run",
            now=settings.now,
            rule_pack=self.knowledge.digest,
            rules=len(self.knowledge.rules),
            parameters=[one.text() for one in settings.parameters],
            watchlists=[path.name for path in exclusions.files(settings.watchlists)],
            sources=[path.name for path in own_sources.files(settings.sources)],
        )
        self.work = folder.path / f"work.tmp-{os.getpid()}"
        self.work.mkdir(mode=0o700)
        self.ahead = Ahead(
            early,
            self.knowledge,
            memory=settings.memory_limit(),
            threads=settings.thread_count(),
            temporary=self.work,
        )
        self.exhibits = Exhibits(folder, self.log, settings, progress, early)
        self.not_evaluated = [refused.as_not_evaluated() for refused in self.knowledge.refused]
        self.given_proof: list[ledger.Given] | None = None
        self.has_found = False
        # One for the chains, which take longest, and one for what can be done meanwhile.
        self.beside = ThreadPoolExecutor(2, thread_name_prefix="beside")
        self.followed: Future[tuple[list[RuleOutcome], list[ChainMatch]]] | None = None
        self.seen: Future[None] | None = None

    def close(self) -> None:
        """Release the log and remove temporary files."""
        self.ahead.close()
        self.beside.shutdown(wait=True, cancel_futures=True)
        self.log.close()
        shutil.rmtree(self.work, ignore_errors=True)

    def all(self, paths: list[Path]) -> Result:
        """Do every stage in order."""
        exhibits = self.exhibits.take_in(paths)
        self.not_evaluated += self.exhibits.not_evaluated
        loaded = self._load(exhibits)
        opened = self._open()
        try:
            outcomes, found = self._detect(opened)
            followed, matches = self._follow(opened, found, outcomes)
            self.progress.stage("explaining")
            found, chained = same_act.told_once(
                found, [as_finding(match) for match in matches], self.knowledge.covers
            )
            outcomes = same_act.counted(outcomes, found)
            explained, history = self._explain(opened, [*found, *chained])
            self.progress.stage("grouping")
            stories = cases.group(explained, history, matches)
            ledger_part, sight_part, clock_part, settings_part = self._proof(opened, stories)
            drawn = self.beside.submit(pictures.describe, opened.connection.cursor(), stories)
            self.progress.stage("answering")
            decided, unanswered = investigation.investigate(opened, stories, sight_part)
            shown = drawn.result()
            self.not_evaluated += unanswered
        finally:
            self.beside.shutdown(wait=True, cancel_futures=True)
            opened.close()
        self.progress.stage("confirming digests")
        self.not_evaluated += self.exhibits.confirm()
        report = outcome_document.build(
            stories=stories,
            outcomes=outcomes,
            chains=followed,
            intake=loaded,
            exhibits=exhibits,
            sha256=self.exhibits.sha256(),
            not_evaluated=[*self.not_evaluated, *loaded.not_evaluated],
            rule_pack=outcome_document.RulePack(
                digest=self.knowledge.digest,
                rules=len(self.knowledge.rules),
                parameters=[one.text() for one in self.settings.parameters],
                watchlists=[path.name for path in exclusions.files(self.settings.watchlists)],
            ),
            now=self.settings.now,
            version=__version__,
            ledger=ledger_part,
            visibility=sight_part,
            pictures=shown,
            decided=decided,
            recoverability=clock_part,
            settings=settings_part,
        )
        self._write(report)
        return Result(report=report, case=self.folder.path)

    # -- tables ------------------------------------------------------------------------------

    def _load(self, exhibits: list[Exhibit]) -> Intake:
        connection = self.ahead.loading()
        # The database loads without the interpreter, which has time for what is only needed at the end.
        self.beside.submit(importlib.import_module, "mailwitness.report.written")
        self.given_proof = _proof_of(exhibits, self.settings.proof)
        # Where the proof reads nested values, there is no first pass that could leave them out.
        proved = questioned(self.knowledge) | ledger.activities() if self.given_proof is not None else set()
        wanted = activities.wanted(
            new_engine(self.knowledge),
            self.knowledge.parsers,
            [
                *queries(self.knowledge),
                *question_queries(self.knowledge),
                *(computing.queries() if self.given_proof is not None else []),
            ],
            needed(self.knowledge).plus(questioned(self.knowledge)).plus(proved),
            early(self.knowledge).plus(proved),
            now=self.settings.now,
            for_ledger=self.given_proof is not None,
        )
        intake = Intake(
            connection,
            tables.TableStore(self.folder.tables),
            wanted=wanted,
            work=self.work,
            index_folder=self.folder.index,
            sealed_lines=self.exhibits.early.lines,
            own=self.own_sources,
            neighbours=Neighbours(exhibits, self.exhibits.others),
        )
        for i, exhibit in enumerate(exhibits):
            self.progress.stage("loading", i, len(exhibits))
            intake.add(exhibit)
        intake.finish()
        self.not_evaluated += self.exhibits.same(intake.placed)
        connection.close()
        return intake

    # -- rules -------------------------------------------------------------------------------

    def _open(self) -> OpenCase:
        """Open the loaded tables for all later stages."""
        self.progress.stage("detecting")
        opened = open_case(
            self.folder.path,
            self.knowledge,
            now=self.settings.now,
            work=self.work,
            connection=self.ahead.asking(),
            given=self.given_proof,
            in_parts=self.settings.fused,
        )
        try:
            self.not_evaluated += local_knowledge.put(opened, self.settings.watchlists)
        except MailwitnessError:
            opened.close()
            raise
        return opened

    def _detect(self, opened: OpenCase) -> tuple[list[RuleOutcome], list[Finding]]:
        self.progress.stage("running rules")
        prepared = self._prepared(opened, opened.knowledge.rules)
        judged: dict[str, findings.Judged] = {}
        if opened.coming:
            judged = self._judge(
                opened, [one for one in prepared if findings.can_be_judged(one, opened.coming)]
            )
            opened.complete()
            # An act that came since may have shown what no record seemed to.
            prepared = [
                one for one in prepared if not one.reason and one.rule.id not in judged
            ] + self._prepared(opened, [one.rule for one in prepared if one.reason])
        self._note_absent(opened.evidence, opened.evidence.tables)
        # Translating is over: chains that need no finding are followed while rules run, one plans while the other computes.
        self.followed = (
            self.beside.submit(_followed, opened) if chains.need_no_finding(self.knowledge.chains) else None
        )
        judged |= self._judge(opened, prepared)
        outcomes: list[RuleOutcome] = []
        found: list[Finding] = []
        for rule in findings.in_order(opened.knowledge.rules):
            outcome, rows = judged[rule.id]
            outcomes.append(outcome)
            found += rows
            if outcome.outcome == "not_evaluated":
                self.not_evaluated.append(
                    NotEvaluated(
                        what=f"rule: {outcome.name}",
                        reason=outcome.reason,
                        remedy="Give evidence that can show it.",
                    )
                )
        return outcomes, same_act.in_two_logs(opened.connection.cursor(), found)

    @staticmethod
    def _prepared(opened: OpenCase, rules: Iterable[Rule]) -> list[findings.Prepared]:
        return [
            findings.prepare(rule, opened.engine, opened.evidence, opened.vocabulary, now=opened.now)
            for rule in rules
        ]

    def _judge(self, opened: OpenCase, prepared: list[findings.Prepared]) -> dict[str, findings.Judged]:
        judged = findings.detect(
            opened.connection.cursor(),
            prepared,
            fused=self.settings.fused,
            seen=self._first_finding,
            proved=opened.proved,
            threads=self.settings.thread_count(),
        )
        return {outcome.id: (outcome, found) for outcome, found in judged}

    def _first_finding(self, finding: Finding) -> None:
        if not self.has_found:
            self.has_found = True
            self.progress.first_finding(finding)

    def _proof(
        self, opened: OpenCase, stories: list[cases.Story]
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:  # Any: JSON values
        """Return what the report says of single messages and of what could be seen, or why it does not."""
        if opened.proof is not None:
            mailboxes = [finding.mailbox for story in stories for finding in story.findings]
            part = summary.describe(opened.connection, list(dict.fromkeys(mailboxes)))
            clock = recoverability.describe(opened.connection, now=self.settings.now)
            part = recoverability.annotate(opened.connection, part, now=self.settings.now)
            history = setting_summary.describe(opened.proof.connection)
            return part, sight.describe(opened.connection), clock, history
        reason = (
            "the setting proof is never"
            if self.settings.proof == "never"
            else f"the evidence is larger than {PROOF_BYTES // (1024 * 1024)} MB, and the setting proof is auto"
        )
        self.not_evaluated.append(
            NotEvaluated(
                what="message ledger and visibility: what existed, what became of it, and what could have been seen",
                reason=reason,
                remedy="Run `mailwitness ledger --case DIR`, or investigate with --proof always.",
            )
        )
        return (
            summary.missing(reason),
            sight.missing(reason),
            recoverability.missing(reason),
            setting_summary.missing(reason),
        )

    def _follow(
        self, opened: OpenCase, found: list[Finding], outcomes: list[RuleOutcome]
    ) -> tuple[list[RuleOutcome], list[ChainMatch]]:
        self.progress.stage("following chains")
        if self.followed is not None:
            # Python follows the chains, with one core: what the questions need is put together meanwhile.
            self.seen = self.beside.submit(_seen, opened) if found else None
            followed, matches = self.followed.result()
        else:
            followed, matches = _followed(opened, found, outcomes)
        self.not_evaluated += [
            NotEvaluated(
                what=f"chain: {outcome.name}",
                reason=outcome.reason,
                remedy="Give evidence that can show this step.",
            )
            for outcome in followed
            if outcome.outcome == "not_evaluated"
        ]
        return followed, matches

    def _explain(
        self, opened: OpenCase, found: list[Finding]
    ) -> tuple[list[Finding], baselines.History | None]:
        """Explain findings, and count meanwhile what is usual: one side plans while the other computes."""
        if not found:
            return [], None
        seen = self.seen or self.beside.submit(_seen, opened)
        explanations.lay_out(opened, found)
        counted = self.beside.submit(baselines.compute, opened.connection.cursor())
        explained, failed = explanations.explain(opened, found, usual=counted.result)
        self.not_evaluated += failed
        # Whoever needs it and does not find it makes it again.
        seen.exception()
        return explained, counted.result()

    def _note_absent(self, evidence: Evidence, present: set[str]) -> None:
        if not present:
            self.not_evaluated.append(
                NotEvaluated(
                    what="the whole evidence",
                    reason="no record could be loaded",
                    remedy="Give an audit export; see `mailwitness sources`.",
                    blocking=True,
                )
            )
        remedies = dict.fromkeys(evidence.of_host, _ABSENT_HOST) | dict.fromkeys(
            evidence.apart, _ABSENT_APART
        )
        for reason in sorted(set(evidence.absent.values())):
            self.not_evaluated.append(
                NotEvaluated(
                    what="what such records would show",
                    reason=reason,
                    remedy=remedies.get(reason, _ABSENT_AUDIT),
                    blocking=reason not in remedies,
                )
            )

    # -- the end -----------------------------------------------------------------------------

    def _write(self, report: dict[str, Any]) -> None:
        self.progress.stage("reporting")
        (self.work / "quarantine.jsonl").replace(self.folder.path / "quarantine.jsonl")
        from mailwitness.report import written  # noqa: PLC0415 - jinja2 is slow to import

        with written.pages(self.folder, report):
            self.folder.write_json("report.json", report)
            digest = outcome_document.digest(report)
        verdict = report["summary"]
        self.log.append(
            "evaluated",
            now=self.settings.now,
            outcome=verdict["outcome"],
            cases=len(report["cases"]),
            report=digest,
        )


def _followed(
    opened: OpenCase, found: Iterable[Finding] = (), outcomes: Iterable[RuleOutcome] = ()
) -> tuple[list[RuleOutcome], list[ChainMatch]]:
    opened.proved()
    return chains.follow(opened, list(found), list(outcomes))


def _seen(opened: OpenCase) -> None:
    case_tables.see(opened, opened.connection.cursor())


def given_of(exhibits: Iterable[Exhibit]) -> list[ledger.Given]:
    """Return the exhibits as the ledger asks for them."""
    return [
        ledger.Given(e.id, e.path, e.size_bytes, _written(e.location) if not e.size_bytes else None)
        for e in exhibits
    ]


def _proof_of(exhibits: list[Exhibit], setting: str) -> list[ledger.Given] | None:
    """Return what the proof is computed from; None when the setting or the size of the evidence rules it out."""
    total = sum(exhibit.size_bytes for exhibit in exhibits)
    if setting == "never" or (setting == "auto" and total > PROOF_BYTES):
        return None
    return given_of(exhibits)


def _written(path: Path) -> dt.datetime | None:
    """Return when a file was last written, naive UTC; None for a member of an archive that does not say."""
    seconds = int(path.stat().st_mtime)
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None) if seconds else None


def open_tables(
    case: Path, settings: Settings, knowledge: pack.Pack, temporary: Path
) -> tuple[duckdb.DuckDBPyConnection, KqlEngine]:
    """Open a case's tables as views, with the engine that knows their columns."""
    connection = tables.connect(
        memory=settings.memory_limit(), threads=settings.thread_count(), temporary=temporary, maps=False
    )
    tables.TableStore(case / "tables").create_views(connection)
    return connection, new_engine(knowledge)


def elapsed_since_start() -> float:
    """Return seconds since this process began, as the operating system counts."""
    with Path("/proc/self/stat").open(encoding="ascii") as handle:
        ticks = int(handle.read().rsplit(")", 1)[1].split()[19])
    with Path("/proc/uptime").open(encoding="ascii") as handle:
        uptime = float(handle.read().split()[0])
    return uptime - ticks / os.sysconf("SC_CLK_TCK")
