"""Faults in the texts a rule compares with: cmdlets, folders, lists, values that can never be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailwitness.clinic import cmdlets
from mailwitness.clinic.defects import Defect, Patient, folder_names, knowledge
from mailwitness.clinic.shape import Comparison, Segment, Step, comparisons

_TERMS = re.compile(r"[A-Za-z0-9]+")
_OF_FOLDERS = re.compile("folder|path|parameter|dest|item|data|payload|text", re.IGNORECASE)
_EXACT = {"==", "=~", "in", "in~"}
# A list of so few cmdlets is a choice; a longer one means to be complete.
_LIST = 3


def _all_comparisons(patient: Patient, word: str = "") -> Iterator[tuple[Segment, Step, Comparison]]:
    for segment in patient.segments:
        for step in segment.steps:
            if not word or step.word == word:
                for comparison in comparisons(step, patient.lists):
                    yield segment, step, comparison


def _named(patient: Patient) -> dict[str, str]:
    """Return each cmdlet that the query names -> where."""
    found: dict[str, str] = {}
    for _, _, comparison in _all_comparisons(patient):
        for value in comparison.values:
            for word in re.findall(r"[A-Z][a-z]+-[A-Z][A-Za-z0-9]+", value):
                found.setdefault(word, comparison.text)
    return found


def unknown_cmdlets(patient: Patient) -> Iterator[Defect]:
    """Cmdlets that no product has."""
    for name, where in _named(patient).items():
        if cmdlets.is_ours(name) and cmdlets.find(name) is None:
            near = cmdlets.similar(name)
            yield Defect(
                code="unknown-cmdlet",
                sentence=f"{name} is no cmdlet of Exchange or of the compliance centre, so this entry never fires.",
                evidence=where,
                remedy=f"Remove it{', or mean ' + ' or '.join(near) if near else ''}.",
            )


def wrong_product(patient: Patient) -> Iterator[Defect]:
    """Cmdlets of a server looked for in a table of the cloud."""
    known = knowledge()
    for segment, _, comparison in _all_comparisons(patient, "where"):
        if segment.table not in known.cloud_tables or comparison.column not in known.cmdlet_columns:
            continue
        alone = [value for value in comparison.values if _only_on_servers(value)]
        if alone:
            yield Defect(
                code="wrong-product",
                sentence=f"{', '.join(alone)} exist only on Exchange servers; {segment.table} holds what the cloud records and never carries them.",
                evidence=comparison.text,
                remedy="Look for them in the event log MSExchange Management, in PowerShell 4103 and 4104, and in the server's admin audit log.",
            )


def _only_on_servers(name: str) -> bool:
    row = cmdlets.find(name)
    return row is not None and row.products == ["Exchange"]


def wrong_record_type(patient: Patient) -> Iterator[Defect]:
    """Cmdlets that the audit log files under another record type than the one asked for."""
    for segment in patient.segments:
        found = [
            c for step in segment.texts("where") for c in comparisons(step, patient.lists) if not c.is_negated
        ]
        types = {
            value for c in found if c.column == "RecordType" and c.operator in _EXACT for value in c.values
        }
        if not types:
            continue
        asked = ", ".join(sorted(types))
        named = set(_named(patient))
        filtered = {value for c in found if c.column in knowledge().cmdlet_columns for value in c.values}
        for name in sorted(named | filtered):
            row = cmdlets.find(name)
            if (
                row is not None
                and row.record not in types
                and "ExchangeOnline" not in row.products
                and "Compliance" in row.products
            ):
                yield Defect(
                    code="wrong-record-type",
                    sentence=f"{name} is recorded under {row.record}, which this branch leaves out by asking for RecordType {asked}.",
                    evidence=f"{segment.table}: RecordType {asked}",
                    remedy=f"Ask for {row.record} too, and for Discovery, where searches and purges are recorded.",
                )


def harmless_cmdlets(patient: Patient) -> Iterator[Defect]:
    """Cmdlets that matter only with certain parameters, which the query does not name."""
    for name, where in _named(patient).items():
        row = cmdlets.find(name)
        if (
            row is not None
            and row.only_with
            and not name.startswith("Get-")
            and not any(p in patient.query for p in row.only_with)
        ):
            yield Defect(
                code="harmless-cmdlet",
                sentence=f"{name} {row.note}; it clears something only with {' or '.join(row.only_with)}, which the rule does not ask for.",
                evidence=where,
                remedy=f"Ask for the parameters {' or '.join(row.only_with)}.",
            )


def lists_differ(patient: Patient) -> Iterator[Defect]:
    """Cmdlets that one branch looks for and another one of the same rule does not, though its table records them."""
    branches: dict[str, set[str]] = {}
    for segment, _, comparison in _all_comparisons(patient, "where"):
        names = {value for value in comparison.values if cmdlets.find(value) is not None}
        if len(names) >= _LIST:
            branches.setdefault(f"{segment.table}: {comparison.text}", set()).update(names)
    everything = set().union(*branches.values()) if branches else set()
    for where, names in branches.items():
        missing = sorted(everything - names)
        if missing:
            yield Defect(
                code="lists-differ",
                sentence=f"This branch leaves out what another branch of the same rule looks for: {', '.join(missing)}.",
                evidence=where,
                remedy="Give all branches one list, and leave a cmdlet out only where the source cannot record it.",
            )


def uneven_lists(patient: Patient) -> Iterator[Defect]:
    """Lists that hold a word and not the one that belongs to it."""
    seen: set[tuple[str, ...]] = set()
    for _, _, comparison in _all_comparisons(patient):
        values = set(comparison.values)
        for belonging in knowledge().siblings:
            # The operation of a mailbox is no cmdlet: it stands in no command line.
            is_log = comparison.column in knowledge().cmdlet_columns
            group = (
                belonging
                if is_log
                else [word for word in belonging if ("-" in word) == ("-" in belonging[0])]
            )
            missing = [word for word in group if word not in values]
            if (
                len(values) >= _LIST
                and missing
                and len(missing) < len(group)
                and (*sorted(values), *missing) not in seen
            ):
                seen.add((*sorted(values), *missing))
                there = [word for word in group if word in values]
                yield Defect(
                    code="uneven-list",
                    sentence=f"The list holds {', '.join(there)} and not {', '.join(missing)}, which does the same.",
                    evidence=comparison.text,
                    remedy=f"Add {', '.join(missing)}.",
                )


def spacing(patient: Patient) -> Iterator[Defect]:
    """Command-line texts that fit one way of writing only."""
    for _, _, comparison in _all_comparisons(patient):
        for value in comparison.values:
            if re.match(r"^-\w+ \S", value):
                switch, _, argument = value.partition(" ")
                yield Defect(
                    code="exact-spacing",
                    sentence=f"{value!r} is found with exactly one blank; {switch}:{argument}, two blanks and a shortened parameter are not.",
                    evidence=comparison.text,
                    remedy="Read the parameter and its value, such as DecodedCmdlets or ParametersBag, instead of the text.",
                )


def switches_without_value(patient: Patient) -> Iterator[Defect]:
    """Names of switches searched as words: set to false they are found as well."""
    known = {parameter for row in cmdlets.catalogue().values() for parameter in row.parameters}
    for _, _, comparison in _all_comparisons(patient):
        hits = sorted(
            {value for value in comparison.values if value.lstrip("-") in known and value.startswith("-")}
        )
        if hits and comparison.operator not in _EXACT:
            yield Defect(
                code="value-ignored",
                sentence=f"{', '.join(hits)} is searched as a word, so {hits[0]}:$false counts as if it were set.",
                evidence=comparison.text,
                remedy="Compare the parameter's value.",
            )


def contradictions(patient: Patient) -> Iterator[Defect]:
    """Values that a filter lists and a further filter on the same column excludes."""
    for segment in patient.segments:
        allowed: dict[str, list[tuple[set[str], str]]] = {}
        for step in segment.texts("where"):
            if _is_branched(step):
                continue
            for c in comparisons(step, patient.lists):
                if c.operator in _EXACT and not c.is_negated:
                    allowed.setdefault(c.column, []).append(
                        ({v.lower() if "~" in c.operator else v for v in c.values}, c.text)
                    )
        for column, sets in allowed.items():
            left = set.intersection(*(values for values, _ in sets))
            dead = sorted(set.union(*(values for values, _ in sets)) - left)
            kept = ", ".join(sorted(left)) or "nothing"
            if len(sets) > 1 and dead:
                yield Defect(
                    code="dead-values",
                    sentence=f"{', '.join(dead)} can never pass: {column} is compared twice and only {kept} is in both lists.",
                    evidence=f"{segment.table}: {' and '.join(text for _, text in sets)}",
                    remedy="Keep one comparison with the values that are meant.",
                )


def _is_branched(step: Step) -> bool:
    """Tell whether a filter has alternatives, so that one of its comparisons need not hold."""
    return any(token.text in {"or", "not", "iff", "case"} for token in step.tokens)


def always_false(patient: Patient) -> Iterator[Defect]:
    """Computed columns whose comparison no value that passes the filter can meet."""
    for segment in patient.segments:
        values: dict[str, set[str]] = {}
        for step in segment.steps:
            for c in comparisons(step, patient.lists):
                if (
                    step.word == "where"
                    and c.operator in _EXACT
                    and not c.is_negated
                    and not _is_branched(step)
                ):
                    values[c.column] = values.get(c.column, set(c.values)) & set(c.values)
                elif (
                    step.word == "extend"
                    and c.column in values
                    and not any(_meets(v, c) for v in values[c.column])
                ):
                    yield Defect(
                        code="always-false",
                        sentence=f"This test can never be true: {c.column} is here {' or '.join(sorted(values[c.column])[:7])}, "
                        f"which never {c.operator} {', '.join(c.values[:5])}.",
                        evidence=step.text[:200],
                        remedy="Look where the values are: switches of a cmdlet stand in Parameters (ParametersBag).",
                    )


def _meets(value: str, comparison: Comparison) -> bool:
    """Tell whether a text meets a comparison, as Kusto decides it."""
    folded, wanted = value.lower(), [text.lower() for text in comparison.values]
    operator = comparison.operator.removesuffix("~").removesuffix("_cs")
    if operator in {"has", "has_any"}:
        terms = {term.lower() for term in _TERMS.findall(value)}
        return any(set(_TERMS.findall(text)) <= terms and text in folded for text in wanted)
    tests = {"contains": lambda t: t in folded, "startswith": folded.startswith, "endswith": folded.endswith}
    return any(tests.get(operator, folded.__eq__)(text) for text in wanted)


def english_only(patient: Patient) -> Iterator[Defect]:
    """Names of folders in English only: a mailbox in another language has others."""
    english, others = folder_names()
    found: dict[str, str] = {}
    is_local = False
    for _, _, comparison in _all_comparisons(patient):
        for value in comparison.values if _OF_FOLDERS.search(comparison.column) else ():
            for part in [value, *re.split(r"[\\/]", value)]:
                folded = part.strip().lower()
                is_local = is_local or folded in others
                if " " in folded and folded in english:
                    found.setdefault(part.strip(), comparison.text)
    if found and not is_local:
        yield Defect(
            code="english-only",
            sentence=f"It knows the folders only by their English names ({', '.join(sorted(found))}); in a mailbox of another language it is blind.",
            evidence=next(iter(found.values())),
            remedy="Use the kind of the folder (FolderKind of MailboxActivity), or a list in every language.",
        )


def case_sensitive(patient: Patient) -> Iterator[Defect]:
    """Names compared letter by letter, though the log spells them in more than one way."""
    columns = {*knowledge().cmdlet_columns, "RecordType"}
    # Only what connectors and exports write varies; our own parsers spell each name one way.
    texts = [
        c.text
        for segment, _, c in _all_comparisons(patient, "where")
        if segment.table in knowledge().cloud_tables and c.operator in {"in", "=="} and c.column in columns
    ]
    if texts:
        yield Defect(
            code="case-sensitive",
            sentence="It compares names letter by letter; exports and connectors spell some of them otherwise.",
            evidence="; ".join(dict.fromkeys(texts)),
            remedy="Write in~ and =~.",
        )


def impossible_paths(patient: Patient) -> Iterator[Defect]:
    """Paths that must begin with a backslash: real ones begin with a drive or a share."""
    for _, _, comparison in _all_comparisons(patient):
        bad = [v for v in comparison.values if v.startswith("\\") and not v.startswith("\\\\")]
        if (
            bad
            and comparison.column in knowledge().path_columns
            and comparison.operator.startswith("startswith")
        ):
            yield Defect(
                code="dead",
                sentence=f"It can never fire: a path never begins with {bad[0]!r}, but with a drive or a share.",
                evidence=comparison.text,
                remedy="Use contains, or begin with the drive.",
            )


CHECKS = (
    unknown_cmdlets,
    wrong_product,
    wrong_record_type,
    harmless_cmdlets,
    lists_differ,
    uneven_lists,
    spacing,
    switches_without_value,
    contradictions,
    always_false,
    english_only,
    case_sensitive,
    impossible_paths,
)
