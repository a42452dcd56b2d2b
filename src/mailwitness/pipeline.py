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
from mailwitness.evidence import containers, custody, seal, store, walk
from mailwitness.evidence.names import display_name
from mailwitness.evidence.opening import Refused
from mailwitness.investigation import investigation
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
from mailwitness.snapshots import taking
from mailwitness.sources import Intake
from mailwitness.tuning import Setting

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from mailwitness.blind_rules import Evidence
    from mailwitness.content.schemas import Rule

TOOL = f"mailwitness {__version__}"
_ABSENT_AUDIT = "Export the audit log without that filter, and check that auditing was on."
_ABSENT_APART = "Give them too if you have them: they are exported by themselves, and none exist where nothing of the kind was done."
_ABSENT_HOST = "Turn that logging on for the next time; the mail store, its index files and a copy of the logs may still show it."
# The proof needs values that a first pass leaves out; up to this size nobody notices what that costs.
PROOF_BYTES = 256 * 1024 * 1024


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is done; nothing here changes what is true about the evidence.

    Attributes:
        now: the clock of the run, aware UTC; verdicts can be derived again with the same clock.
        memory: limit of the database, such as ``1GB``; empty takes a quarter of the machine.
        threads: worker threads; 0 takes one for each core.
        rules: folders of further rules in Sentinel's YAML.
        watchlists: folders of watchlists with local knowledge.
        sources: folders of further sources.
        parameters: values for parameters of rules and explanations.
        fused: evaluate leading filters of all rules in one scan (the result is the same).
        proof: compute ledger and visibility: ``always``, ``never``, or ``auto`` for evidence of at most PROOF_BYTES.
    """

    now: dt.datetime
    memory: str = ""
    threads: int = 0
    rules: tuple[Path, ...] = ()
    watchlists: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    parameters: tuple[Setting, ...] = ()
    fused: bool = True
    proof: str = "auto"

    def memory_limit(self) -> str:
        """Return the database's limit with its unit."""
        if self.memory:
            return self.memory
        pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        # The rest of a run (digests, indexes, report) needs about 300 MB beside the database.
        return f"{max(512, min(pages // 4, 1200 * 1024 * 1024) // (1024 * 1024))}MB"

    def thread_count(self) -> int:
        """Return the number of worker threads."""
        return (
            self.threads or len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else self.threads or 2
        )


class Progress:
    """What a run tells while it works; the entry points subclass it."""

    def stage(self, name: str, done: int = 0, total: int = 0) -> None:
        """Say which stage runs and how far it is."""

    def first_finding(self, finding: Finding) -> None:
        """Say the first finding as soon as there is one."""


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
        self.early = early
        self.lines = early.lines
        self.digests: dict[str, Future[str]] = {}
        self.sealed: dict[str, seal.Sealed] = {}
        self.not_evaluated = [refused.as_not_evaluated() for refused in self.knowledge.refused]
        self.given: list[Path] = []
        # Evidence may hold a hundred thousand files: none of them is compared with all others.
        self.taken: set[tuple[str, str]] = set()
        self.by_digest: dict[str, Exhibit] = {}
        self.last_number = 0
        self.named: dict[tuple[str, str], str] = {}
        # By exhibit: further places at which the same bytes lie.
        self.others: dict[str, list[str]] = {}
        self.given_proof: list[ledger.Given] | None = None
        self.has_found = False
        self.beside = ThreadPoolExecutor(1, thread_name_prefix="beside")
        self.followed: Future[tuple[list[RuleOutcome], list[ChainMatch]]] | None = None

    def close(self) -> None:
        """Release the log and remove temporary files."""
        self.ahead.close()
        self.beside.shutdown(wait=True, cancel_futures=True)
        self.log.close()
        shutil.rmtree(self.work, ignore_errors=True)

    def all(self, paths: list[Path]) -> Result:
        """Do every stage in order."""
        exhibits = self._exhibits(paths)
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
            explained, failed = explanations.explain(opened, [*found, *chained])
            self.not_evaluated += failed
            history = baselines.compute(opened.connection) if explained else None
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
        self._confirm(exhibits)
        report = outcome_document.build(
            stories=stories,
            outcomes=outcomes,
            chains=followed,
            intake=loaded,
            exhibits=exhibits,
            sha256=self._sha256(),
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

    # -- evidence ----------------------------------------------------------------------------

    def _exhibits(self, paths: list[Path]) -> list[Exhibit]:
        """Seal every input and give it its name within the case; the same bytes keep their name."""
        described = self.folder.description()
        earlier = list(described.get("exhibits", []))
        known = {(item["blake3"], item["path"]): item["id"] for item in earlier}
        self.named = {(item["blake3"], item["location"]): item["path"] for item in earlier}
        self.last_number = max((int(name[1:]) for name in known.values()), default=0)
        exhibits: list[Exhibit] = []
        self.progress.stage("sealing")
        paths = list(dict.fromkeys([*paths, *taking.files(self.folder.path)]))
        self.given = [*paths, *_still_there(earlier, paths)]
        found = list(walk.collect(self.given, exclude=[self.folder.path]))
        for sealed in seal.seal(
            found,
            self.log,
            now=self.settings.now,
            threads=self.settings.thread_count(),
            watch=self.lines.watch,
            begun=self.early.measured,
        ):
            if isinstance(sealed, Refused):
                self._refuse(sealed)
                continue
            self.progress.stage("sealing", len(exhibits), len(found))
            if containers.kind_of(sealed) is None:
                self._take(sealed, known, exhibits)
                continue
            for member in containers.expand(
                sealed, self.folder.originals, containers.Limits(), self.log, now=self.settings.now
            ):
                if isinstance(member, Refused):
                    self._refuse(member)
                else:
                    self._take(member.sealed, known, exhibits, member)
        # Evidence that was added later comes later, in this run and in one that repeats it.
        exhibits.sort(key=lambda exhibit: int(exhibit.id[1:]))
        listed = [
            {
                "id": e.id,
                "path": e.path,
                "blake3": e.blake3,
                "location": str(e.location),
                "size_bytes": e.size_bytes,
                "kept": e.kept,
            }
            for e in exhibits
        ]
        given = list(dict.fromkeys([*described.get("given", []), *(str(path.absolute()) for path in paths)]))
        self.folder.describe(
            exhibits=listed,
            given=given,
            rules=[str(path.absolute()) for path in self.settings.rules],
            proof=self.settings.proof,
            watchlists=[str(path.absolute()) for path in self.settings.watchlists],
            sources=[str(path.absolute()) for path in self.settings.sources],
            others=self.others,
            parameters=msgspec.to_builtins(self.settings.parameters),
        )
        return exhibits

    def _take(
        self,
        sealed: seal.Sealed,
        known: dict[tuple[str, str], str],
        exhibits: list[Exhibit],
        member: containers.Member | None = None,
    ) -> None:
        # The same bytes at the same place keep the name by which they were first given, and with it their number.
        place = (sealed.blake3, str(sealed.path.absolute()))
        shown = self.named.get(place) or self._shown(sealed.display_name)
        key = (sealed.blake3, shown)
        if key in self.taken:
            return
        same = self.by_digest.get(sealed.blake3)
        if same is not None:
            self.others.setdefault(same.id, []).append(shown)
            self.taken.add(key)
            return
        if key not in known:
            self.last_number += 1
            known[key] = f"E{self.last_number}"
        name = known[key]
        exhibit = Exhibit(
            id=name,
            path=shown,
            location=sealed.path.absolute(),
            size_bytes=sealed.size_bytes,
            blake3=sealed.blake3,
            kept=member is not None,
        )
        exhibits.append(exhibit)
        self.taken.add(key)
        if exhibit.size_bytes:
            self.by_digest[exhibit.blake3] = exhibit
        self.digests[name] = sealed.sha256
        if member is not None and (member.truncated or member.notes):
            reason = "; ".join(member.notes) or "its end is missing"
            self.not_evaluated.append(
                NotEvaluated(
                    what=shown,
                    reason=reason,
                    remedy="Get the archive from its source again.",
                    blocking=member.truncated,
                )
            )
        self.sealed[name] = sealed

    def _shown(self, name: str) -> str:
        """Return a path from the given file or folder on: the same wherever a run is repeated."""
        for path in self.given:
            full = display_name(path)
            if name == full or name.startswith(full.rstrip("/") + "/"):
                return display_name(path.absolute().name or "root") + name[len(full.rstrip("/")) :]
        return name

    def _refuse(self, refused: Refused) -> None:
        self.not_evaluated.append(
            NotEvaluated(
                what=self._shown(refused.display_name),
                reason=refused.reason,
                remedy=refused.remedy,
                blocking=refused.blocking,
            )
        )

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
            sealed_lines=self.lines,
            own=self.own_sources,
            neighbours=Neighbours(exhibits, self.others),
        )
        for i, exhibit in enumerate(exhibits):
            self.progress.stage("loading", i, len(exhibits))
            intake.add(exhibit)
        intake.finish()
        self._note_same(exhibits, intake.placed)
        connection.close()
        return intake

    def _note_same(self, exhibits: list[Exhibit], placed: set[str]) -> None:
        """Say which inputs were left out because their bytes are an exhibit already."""
        self.not_evaluated += [
            NotEvaluated(
                what=name,
                reason=f"the same bytes are already exhibit {exhibit.id} ({exhibit.path})",
                remedy="Nothing is lost; leave one of them out.",
            )
            for exhibit in exhibits
            if exhibit.id not in placed
            for name in self.others.get(exhibit.id, [])
        ]

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

    def _confirm(self, exhibits: list[Exhibit]) -> None:
        """Wait for the SHA-256 of every exhibit; one that changed meanwhile is no evidence."""
        self.progress.stage("confirming digests")
        for exhibit in exhibits:
            try:
                self.digests[exhibit.id].result()
                self.sealed[exhibit.id].ensure_unchanged()
            except MailwitnessError as error:
                self.digests[exhibit.id] = _ready("")
                self.not_evaluated.append(
                    NotEvaluated(what=exhibit.path, reason=error.message, remedy=error.remedy, blocking=True)
                )

    def _sha256(self) -> dict[str, str]:
        return {name: digest.result() for name, digest in self.digests.items()}

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


def _still_there(earlier: list[dict[str, Any]], paths: list[Path]) -> list[Path]:  # Any: case.json
    """Return originals of earlier runs that were not given again: a case grows, it does not shrink."""
    given = {path.resolve() for path in paths}
    locations = [Path(item["location"]) for item in earlier if not item["kept"]]
    return [
        path
        for path in locations
        if path.exists() and not any(path.resolve().is_relative_to(g) for g in given)
    ]


def _ready(value: str) -> Future[str]:
    done: Future[str] = Future()
    done.set_result(value)
    return done


def elapsed_since_start() -> float:
    """Return seconds since this process began, as the operating system counts."""
    with Path("/proc/self/stat").open(encoding="ascii") as handle:
        ticks = int(handle.read().rsplit(")", 1)[1].split()[19])
    with Path("/proc/uptime").open(encoding="ascii") as handle:
        uptime = float(handle.read().split()[0])
    return uptime - ticks / os.sysconf("SC_CLK_TCK")
