"""The command line: one function for each command; heavy modules are imported by the command that needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from mailwitness import __version__
from mailwitness.bundle_commands import bundle_app
from mailwitness.case_commands import case_app
from mailwitness.errors import ConfigError, MailwitnessError, MemoryTooSmall
from mailwitness.plan_commands import plan_app
from mailwitness.posture_commands import posture_app
from mailwitness.question_commands import questions_app
from mailwitness.snapshot_commands import snapshot_app
from mailwitness.witness_commands import witness_app

CLEAR, FOUND, FAILED = 0, 1, 2

app = App(
    name="mailwitness",
    version=__version__,
    help="Find, prove and undo the clearing of mailbox evidence (ATT&CK T1070.008).",
    help_format="plaintext",
)
rules_app = App(name="rules", help="List, show, test and check the rules.")
app.command(rules_app)
export_app = App(name="export", help="Write rules for other products.")
rules_app.command(export_app)
app.command(case_app)
app.command(plan_app)
app.command(questions_app)
app.command(snapshot_app)
app.command(witness_app)
app.command(bundle_app)
app.command(posture_app)
chains_app = App(name="chains", help="List, show, test and export the chains: acts that follow each other.")
app.command(chains_app)


def main() -> None:
    """Run the command line; bad input ends with one sentence and exit code 2, never with a traceback."""
    try:
        code = app(exit_on_error=False, print_error=False)
    except MailwitnessError as error:
        _complain(str(error), error.code)
        code = FAILED
    except KeyboardInterrupt:
        _complain("stopped; run it again, nothing is lost")
        code = FAILED
    except BrokenPipeError:
        sys.stderr.close()
        code = FAILED
    except Exception as error:  # noqa: BLE001 - the last line of defence
        code = _unexpected(error)
    sys.exit(code if isinstance(code, int) else CLEAR)


def _unexpected(error: Exception) -> int:
    """Report a usage error of the argument parser, or a fault of ours, in one line."""
    import os

    if type(error).__module__.startswith("cyclopts"):
        _complain(f"{error} Try `mailwitness --help`.")
        return FAILED
    if os.environ.get("MAILWITNESS_DEBUG"):
        raise error
    # By its name, because the database is not imported here.
    if type(error).__name__ == "OutOfMemoryException":
        small = MemoryTooSmall(
            "the database needs more memory than it may take",
            remedy="Run it again with a larger --memory; what has been loaded stays loaded.",
        )
        _complain(str(small), small.code)
        return FAILED
    _complain(
        f"internal error: {type(error).__name__}: {error} Run it again with MAILWITNESS_DEBUG=1 and report the output.",
        "MW000",
    )
    return FAILED


def _complain(message: str, code: str = "") -> None:
    from mailwitness.report.text import visible

    prefix = f"mailwitness: {code}: " if code else "mailwitness: "
    print(prefix + visible(message, 2000), file=sys.stderr)


@app.command
def investigate(  # noqa: PLR0913 - one for each flag
    *evidence: Path,
    case: Path | None = None,
    json: bool = False,
    rules: list[Path] | None = None,
    watchlists: list[Path] | None = None,
    sources: list[Path] | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set")] = None,
    memory: str | None = None,
    threads: int | None = None,
    now: str | None = None,
    proof: str | None = None,
    config: Path | None = None,
) -> int:
    """Investigate files, folders and archives, and write a case with its report.

    Exit code 0: clear as far as the evidence reaches; 1: found; 2: not evaluated or failed.

    Parameters
    ----------
    evidence
        Files, folders (read recursively) and archives.
    case
        Folder for the case; default ./mailwitness-case.
    json
        Print report.json on standard output instead of the summary.
    rules
        Folder of further rules (Sentinel YAML and Sigma); may be given more than once.
    watchlists
        Folder of watchlists (CSV with value, reason, owner, expires); may be given more than once.
    sources
        Folder of further sources, one YAML file each; may be given more than once.
    set_
        A rule's parameter, RULE.parameter=value, by the rule's id or name; may be given more than once.
    memory
        Memory limit of the database, such as 1GB; default a quarter of the machine, at most 1200MB.
    threads
        Worker threads; default one for each core.
    now
        Clock of the run, ISO 8601 UTC; default the present time. With the same clock, verdicts repeat.
    proof
        Whether to compute the message ledger: auto (evidence up to 256 MB), always or never; default auto.
    config
        TOML file with defaults for these flags; default ./mailwitness.toml where it exists.
    """
    from contextlib import closing

    from mailwitness import signing_key
    from mailwitness.early import Early

    if not evidence and not (case and (case / "case.json").is_file()):
        raise ConfigError("no evidence was given", remedy="Name at least one file or folder.")
    with closing(Early(evidence)) as begun:
        from mailwitness import pipeline
        from mailwitness.settings import settings
        from mailwitness.terminal import TerminalProgress

        chosen = settings(
            config,
            case=case,
            rules=rules,
            watchlists=watchlists,
            sources=sources,
            parameters=set_,
            memory=memory,
            threads=threads,
            now=now,
            proof=proof,
        )
        result = pipeline.investigate(evidence, chosen.case, chosen.run, TerminalProgress(), begun)
    if signing_key.path().exists():
        from mailwitness import signing
        from mailwitness.evidence.store import CaseFolder

        signing.sign_custody(
            CaseFolder(result.case, create=False), signing.load(signing_key.path()), now=chosen.run.now
        )
    _show(result.report, result.case, as_json=json)
    return {"found": FOUND, "clear": CLEAR}.get(result.report["summary"]["outcome"], FAILED)


def _show(report: dict[str, object], case: Path, *, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(report, indent=1))
        return
    from rich.console import Console

    from mailwitness.report.terminal import print_summary

    print_summary(report, Console(), str(case / "report.html"))


@app.command
def report(
    *,
    case: Path,
    for_: Annotated[
        Literal["manager", "technical", "handover", "counsel"] | None, Parameter(name="--for")
    ] = None,
    format: Literal["html", "md", "pdf", "csv"] = "html",  # noqa: A002 - the name of the flag
    out: Path | None = None,
    json: bool = False,
    now: str | None = None,
) -> int:
    """Write the report for one reader; without a reader, write report.html and report.md again and print the summary.

    Parameters
    ----------
    case
        Folder of the case.
    for_
        Who reads it: manager (one sheet), technical (everything), handover (tier 2), counsel (evidence and custody).
    format
        html and md need nothing else; pdf needs the extra "pdf"; csv gives findings, ledger and evidence.
    out
        File to write, for csv the folder; default the folder "reports" in the case folder.
    json
        Print report.json instead of the summary.
    now
        Clock with which the case book is opened, ISO 8601 UTC; default the present time. It changes nothing in a report.
    """
    from mailwitness.evidence.store import CaseFolder
    from mailwitness.report import written
    from mailwitness.verification import read_report

    folder = CaseFolder(case, create=False)
    found = read_report(folder)
    if for_ is None and format == "html" and out is None:
        with written.pages(folder, found):
            pass
        _show(found, folder.path, as_json=json)
        return CLEAR
    from mailwitness import report_pages
    from mailwitness.settings import clock, database

    reader = for_ or "technical"
    for path in report_pages.write(
        case, found, reader=reader, form=format, out=out, now=clock(now), url=database()
    ):
        print(path)
    return CLEAR


@app.command
def export(
    *formats: str, case: Path = Path("mailwitness-case"), out: Path | None = None, stdout: bool = False
) -> int:
    """Write the cases in the formats of other products; without a format, list them.

    Parameters
    ----------
    formats
        Names of formats, or "all".
    case
        Folder of the case.
    out
        Folder to write to; default "exports" in the case folder.
    stdout
        Write the one format asked for to standard output instead.
    """
    from mailwitness import interactive

    return interactive.export(list(formats), case, out=out, to_stdout=stdout)


@app.command
def verify(*, case: Path, memory: str | None = None) -> int:
    """Hash the exhibits again, run the same rules at the same clock, and say what differs.

    Exit code 0: everything is confirmed; 2: something differs or could not be confirmed.

    Parameters
    ----------
    case
        Folder of the case.
    memory
        Memory limit of the database.
    """
    from mailwitness import verification
    from mailwitness.report.text import visible

    lines = verification.verify(case, memory=memory or "")
    for line in lines:
        print(f"{'ok   ' if line.ok else 'DIFFERS '} {visible(line.text, 500)}")
    return CLEAR if all(line.ok for line in lines) else FAILED


@app.command
def query(
    kql: str,
    *,
    case: Path,
    format: Literal["table", "json", "csv"] = "table",  # noqa: A002 - the name of the flag
    limit: int = 1000,
    now: str | None = None,
) -> int:
    """Ask the tables of a case in KQL, read-only.

    Parameters
    ----------
    kql
        The query, such as: MailboxActivity | where Activity == 'HardDeleted' | count
    case
        Folder of the case.
    format
        How rows are printed.
    limit
        Most rows to print.
    now
        What now() means, ISO 8601 UTC; default the clock of the case.
    """
    from mailwitness import interactive

    return interactive.query(kql, case, form=format, limit=limit, now=now)


@app.command
def ledger(
    *,
    case: Path,
    mailbox: str = "",
    gone: bool = False,
    format: Literal["table", "json", "csv"] = "table",  # noqa: A002 - the name of the flag
    limit: int = 1000,
) -> int:
    """Say of every message that the evidence names what proves it and what became of it.

    The ledger is computed from the sealed originals when the case does not have it yet.

    Parameters
    ----------
    case
        Folder of the case.
    mailbox
        Only this mailbox, by its address or the name before the @.
    gone
        Only messages that are gone, altered, planted, never stored or deleted.
    format
        How rows are printed.
    limit
        Most rows to print.
    """
    from mailwitness import messages

    return messages.ledger(case, mailbox=mailbox, gone=gone, form=format, limit=limit)


@app.command(name="settings")
def show_settings(
    *,
    case: Path,
    mailbox: str = "",
    format: Literal["table", "json", "csv"] = "table",  # noqa: A002 - the name of the flag
    limit: int = 1000,
) -> int:
    """Show rules and settings over time: each version, who made it, what it did, and to which messages.

    Parameters
    ----------
    case
        Folder of the case.
    mailbox
        Only this mailbox, by its address or the name before the @, and settings of the organisation.
    format
        How rows are printed.
    limit
        Most rows to print.
    """
    from mailwitness import messages

    return messages.setting_history(case, mailbox=mailbox, form=format, limit=limit)


@app.command
def sources(*folders: Path, json: bool = False) -> int:
    """List what can be read, how it is recognised, and an example of each.

    Parameters
    ----------
    folders
        Folders of further sources: they are checked, their tests run, and they are listed first.
    json
        Print the list as JSON.
    """
    from mailwitness import interactive

    return interactive.list_sources(list(folders), as_json=json)


@app.command
def emulate(
    name: str | None = None,
    *,
    out: Path | None = None,
    list: bool = False,  # noqa: A002 - the name of the flag
    live: bool = False,
    log: list[Path] | None = None,
    json: bool = False,
) -> int:
    """Write a scenario's evidence, or do its harmless deed in a folder of its own and see whether the logs noticed.

    Parameters
    ----------
    name
        Scenario, such as export_then_removal.61m, or its benign twin: export_then_removal.61m.twin.
    out
        New folder for the evidence; with --live the scratch folder, the only place where anything is done.
    list
        List the scenarios, or with --live the deeds.
    live
        Linux only: do the deed on a maildir or mbox made for it below --out.
    log
        Log of this host to watch, such as /var/log/audit/audit.log; may be given more than once.
    json
        Print the list as JSON.
    """
    from mailwitness.scenarios import command

    return command.emulate(
        name, out=out, is_list=list or name is None, is_live=live, logs=log or [], as_json=json
    )


@rules_app.command(name="list")
def list_rules(*, rules: list[Path] | None = None, json: bool = False) -> int:
    """List the rules with severity, techniques and name.

    Parameters
    ----------
    rules
        Folder of further rules.
    json
        Print the list as JSON.
    """
    from mailwitness import interactive

    return interactive.list_rules(rules or [], as_json=json)


@rules_app.command
def show(name: str, *, rules: list[Path] | None = None) -> int:
    """Show one rule: what it finds, how sure it is, what it misses, and its query.

    Parameters
    ----------
    name
        Id, file name or a part of the rule's name.
    rules
        Folder of further rules.
    """
    from mailwitness import interactive

    return interactive.show_rule(name, rules or [])


@rules_app.command
def hunts(
    name: str | None = None,
    *,
    case: Path | None = None,
    format: Literal["table", "json", "csv"] = "table",  # noqa: A002 - the name of the flag
    limit: int = 1000,
    json: bool = False,
) -> int:
    """List the hunting queries, show one, or run one on a case; a hunt raises nothing by itself.

    Parameters
    ----------
    name
        Id, file name or a part of the hunt's name.
    case
        Folder of a case to run the named hunt on.
    format
        How rows are printed.
    limit
        Most rows to print.
    json
        Print the list as JSON.
    """
    from mailwitness import interactive

    if name is None:
        return interactive.list_hunts(as_json=json)
    if case is None:
        return interactive.show_hunt(name)
    return interactive.run_hunt(name, case, form=format, limit=limit)


@rules_app.command
def load(*paths: Path, json: bool = False) -> int:
    """Say of each rule in a folder whether it runs here, or why not: Sentinel's YAML and Sigma, mixed.

    Exit code 0: every rule runs; 2: at least one does not.

    Parameters
    ----------
    paths
        Rule files or folders.
    json
        Print the report as JSON.
    """
    from mailwitness import rule_loading

    return rule_loading.print_report(list(paths), as_json=json)


@rules_app.command
def test(*paths: Annotated[Path, Parameter(help="Rule files or folders; default the shipped rules.")]) -> int:
    """Run the tests inside rules and parsers on a real database."""
    from mailwitness import content_check as check

    return check.run_tests(list(paths))


@export_app.command(name="sentinel")
def export_sentinel(
    *,
    out: Path,
    format: Literal["yaml", "arm"] = "yaml",  # noqa: A002 - the name of the flag
    rules: list[Path] | None = None,
) -> int:
    """Write the rules and chains for Microsoft Sentinel, with MailboxActivity as functions of the workspace.

    Says of each rule, chain and parser that cannot run in a workspace why it is left out.

    Parameters
    ----------
    out
        Folder to write to.
    format
        yaml: a file for each rule and function; arm: one template to deploy.
    rules
        Folder of further rules.
    """
    from mailwitness import rule_export
    from mailwitness.report.text import visible

    done = rule_export.sentinel_rules(out, form=format, folders=rules or [])
    for line in done.left_out:
        print(visible(f"left out: {line}", 500))
    print(f"{len(done.files)} files written, {len(done.left_out)} left out")
    return CLEAR


@export_app.command(name="sigma")
def export_sigma(*, out: Path, rules: list[Path] | None = None) -> int:
    """Write the rules that Sigma has words for, and say of each other one why it has none.

    Parameters
    ----------
    out
        Folder to write to.
    rules
        Folder of further rules.
    """
    from mailwitness import rule_export
    from mailwitness.report.text import visible

    done = rule_export.sigma_rules(out, folders=rules or [])
    for line in done.left_out:
        print(visible(f"left out: {line}", 500))
    print(f"{len(done.files)} files written, {len(done.left_out)} left out")
    return CLEAR


@export_app.command(name="navigator")
def export_navigator(*, out: Path) -> int:
    """Write layers for the ATT&CK Navigator, one for each version of ATT&CK that the rules name.

    Parameters
    ----------
    out
        Folder to write to.
    """
    from mailwitness.attack_export import command

    return command.navigator(out)


@export_app.command(name="vault")
def export_vault(*, out: Path) -> int:
    """Write a vault of Markdown notes: each technique, rule, chain and test, with front matter, links and tags.

    Parameters
    ----------
    out
        Folder to write to.
    """
    from mailwitness.attack_export import command

    return command.vault(out)


@rules_app.command
def lint(*paths: Path, json: bool = False) -> int:
    """Say what is wrong with rules, anybody's: dead, blind, noisy, positional, English only, and more.

    Sentinel YAML, Sigma or plain KQL (.kql, .txt). Each rule is read against schemas and cmdlets, and run on known variants
    and on ordinary work. Without a file, the shipped rules are checked against our own standard.
    Exit code 0: no defect; 1: defects; 2: a rule could not be judged.

    Parameters
    ----------
    paths
        Rule files or folders; default the shipped rules.
    json
        Print the defects as JSON.
    """
    if not paths:
        from mailwitness import content_check as check

        return check.lint([])
    from mailwitness import rule_clinic

    return rule_clinic.print_diagnoses(list(paths), as_json=json)


@chains_app.command(name="list")
def list_chains(*, json: bool = False) -> int:
    """List the chains with severity, steps and name.

    Parameters
    ----------
    json
        Print the list as JSON.
    """
    from mailwitness import chain_pages

    return chain_pages.list_chains(as_json=json)


@chains_app.command(name="show")
def show_chain(name: str, *, kql: bool = False) -> int:
    """Show one chain: its steps, how they are joined, how sure it is, and what it misses.

    Parameters
    ----------
    name
        Id, name or a part of the chain's title.
    kql
        Print it as KQL for Sentinel instead.
    """
    from mailwitness import chain_pages

    return chain_pages.show_chain(name, as_kql=kql)


@chains_app.command(name="test")
def test_chains(
    *paths: Annotated[Path, Parameter(help="Chain files; default the shipped chains.")],
) -> int:
    """Check chains and run the tests inside them on a real database."""
    from mailwitness import content_check as check

    return check.run_chain_tests(list(paths))


if __name__ == "__main__":
    main()
