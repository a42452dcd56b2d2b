"""Severity, confidence and verdict of a case, each with its reasons in words.

The model is small on purpose, and docs/severity.md says it in full: the worst finding sets the level, at most one
step is added or taken away, and every step is a sentence. Four things are looked at: can it be undone, what was
destroyed, who did it and how, and what came before and after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mailwitness.content.schemas import SEVERITIES
from mailwitness.models import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mailwitness.baselines import Usual

LEVELS = ("low", "medium", "high")
PHASES = ("access", "collection", "exfiltration", "hiding", "clearing", "after")
_MEDIUM, _HIGH = SEVERITIES.index("medium"), SEVERITIES.index("high")
# What an explained finding counts as, when nothing else in its story speaks against the explanation.
LOWERED = {"noise": "informational", "authorised": "low"}

_SENTENCES = 5

_PROOF = {
    "AuditWeakened", "LogCleared", "LoggingStopped", "ExportRemoved", "SearchRemoved", "HoldWeakened",
}  # fmt: skip
_FINAL = {
    "Purged", "StoreFileDeleted", "StoreFileTruncated", "StoreFileReplaced", "MessageAltered", "MailboxRemoved",
    "FolderDeleted", "QuarantineDeleted", "LogCleared", "ExportRemoved", "SearchRemoved", "PriorityCleanup",
}  # fmt: skip
_BY_OWNER = {"Moved", "MovedToDeletedItems", "SoftDeleted"}
_MAIL = {
    "HardDeleted", "SoftDeleted", "MovedToDeletedItems", "Moved", "Purged", "StoreFileDeleted", "StoreFileTruncated",
    "StoreFileReplaced", "StoreFileModified", "MessageAltered", "MailboxRemoved", "FolderDeleted", "QuarantineDeleted",
    "PriorityCleanup", "MessageRecalled",
}  # fmt: skip
_CONCEALING = ("InboxRule", "TransportRule", "SweepRule", "JunkList", "Forwarding")


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What a story amounts to, and why.

    Attributes:
        findings: the same findings; those whose explanation was accepted carry the lowered severity.
        reasons: sentences, the one that set the level first.
    """

    severity: str
    confidence: str
    verdict: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]


def assess(findings: tuple[Finding, ...], usual: Sequence[Usual] = ()) -> Assessment:
    """Judge the findings of one story.

    Args:
        findings: in order of time.
        usual: how often the story's actors usually do what they did here, from :mod:`mailwitness.baselines`.
    """
    steps = attack_steps(findings)
    judged = findings if steps else tuple(_lowered(finding) for finding in findings)
    worst = max(_index(finding) for finding in judged)
    reasons = [_worst(judged, worst)]
    level, because = _chained(judged, worst) or _usual_work(judged, worst, usual) or (worst, "")
    reasons += [because] if because else []
    if level >= _MEDIUM:
        reasons += _facts([finding for finding in judged if _index(finding) >= _MEDIUM])
    reasons += _explained(judged, refused=bool(steps))
    severity = SEVERITIES[level]
    confidence = _confidence(judged, level)
    return Assessment(
        severity=severity,
        confidence=confidence,
        verdict=_verdict(judged, level, confidence),
        reasons=tuple(reasons),
        findings=judged,
    )


def attack_steps(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that keep a story loud: medium or worse, and nobody explained them."""
    return [f for f in findings if _index(f) >= _MEDIUM and not f.explanations]


def _index(finding: Finding) -> int:
    return SEVERITIES.index(finding.severity)


def _lowered(finding: Finding) -> Finding:
    """Return an explained finding with the severity it keeps; of several explanations the gravest counts."""
    if not finding.explanations:
        return finding
    target = max((LOWERED[one.verdict] for one in finding.explanations), key=SEVERITIES.index)
    if SEVERITIES.index(target) >= _index(finding):
        return finding
    return msgspec.structs.replace(finding, severity=target, rated=finding.severity)


def _worst(findings: Sequence[Finding], level: int) -> str:
    worst = next(finding for finding in findings if _index(finding) == level)
    rated = f", rated {worst.rated} before it was explained" if worst.rated else ""
    return f"the most severe finding is {worst.severity}{rated}: {worst.title}"


def _chained(findings: Sequence[Finding], worst: int) -> tuple[int, str] | None:
    """Raise by one step what shows several phases of an attack by the same actor, mailbox or session."""
    counted = [finding for finding in findings if _index(finding) >= _MEDIUM]
    phases = _phases(counted)
    rules = {finding.rule for finding in counted}
    if worst == _MEDIUM and len(phases) > 1 and len(rules) > 1:
        return worst + 1, f"raised to high: the same actor or mailbox shows {' and '.join(phases)}"
    if worst == _HIGH and len(phases) > 2 and len(rules) > 2 and "clearing" in phases:  # noqa: PLR2004
        return worst + 1, f"raised to critical: {', '.join(phases)} in one story"
    return None


def _phases(findings: Sequence[Finding]) -> list[str]:
    """Return the phases that records of their own show: two readings of one record are not two steps of an attack."""
    found: list[str] = []
    used: set[tuple[str, int]] = set()
    for phase in PHASES:
        own = [f for f in findings if f.phase == phase and not used.intersection(f.rows)]
        if own:
            used |= set(own[0].rows)
            found.append(phase)
    return found


def _usual_work(findings: Sequence[Finding], worst: int, usual: Sequence[Usual]) -> tuple[int, str] | None:
    """Lower by one step what the owner can undo and does as much of on any day, when the history is long enough."""
    counted = [finding for finding in findings if _index(finding) >= _MEDIUM]
    if worst != _MEDIUM or len({finding.rule for finding in counted}) != 1:
        return None
    reversible = all(_activity(f) in _BY_OWNER and f.actor_type == "Owner" for f in counted)
    about = {(finding.actor.lower(), _activity(finding)) for finding in counted}
    known = {(one.actor, one.activity): one for one in usual if one.kind == "actor" and one.enough}
    if not reversible or not about <= known.keys() or any(known[key].is_unusual for key in about):
        return None
    return worst - 1, "lowered to low: the owner can undo it, and does as much on other days: " + "; ".join(
        known[key].words() for key in sorted(about)
    )


def _activity(finding: Finding) -> str:
    return str(finding.evidence.get("Activity") or "")


def _facts(findings: Sequence[Finding]) -> list[str]:
    """Say what was destroyed, whether it can be undone, and who did it how."""
    acts = [(_activity(f), str(f.evidence.get("FolderKind") or "")) for f in findings]
    return [text for text in (_destroyed(acts), _reversibility(acts), _who(findings)) if text]


def _destroyed(acts: list[tuple[str, str]]) -> str:
    found = {
        "records of what was done": any(a in _PROOF or k.endswith(("Versions", "Audits", "DiscoveryHolds")) for a, k in acts),
        "mail": any(a in _MAIL for a, _ in acts),
        "the way mail takes, so that it is not seen": any(a.startswith(_CONCEALING) for a, _ in acts),
        "protection against deletion": any(a in {"RetentionWeakened", "HoldWeakened"} for a, _ in acts),
    }  # fmt: skip
    listed = [name for name, holds in found.items() if holds]
    return f"what was touched: {', '.join(listed)}" if listed else ""


def _reversibility(acts: list[tuple[str, str]]) -> str:
    if any(a in _FINAL or (a == "HardDeleted" and k.startswith("RecoverableItems")) for a, k in acts):
        return "can it be undone: some of it not in this place; only a copy elsewhere can bring it back"
    if any(a == "HardDeleted" for a, _ in acts):
        return "can it be undone: by an administrator, as long as deleted items are kept"
    if any(a in _BY_OWNER for a, _ in acts):
        return "can it be undone: yes, the messages are still in the mailbox"
    return ""


def _who(findings: Sequence[Finding]) -> str:
    kinds = {
        "Owner": "the owner's account",
        "Delegate": "a delegate",
        "Admin": "an administrator",
        "Application": "an application",
        "Unknown": "somebody whose role the records do not tell",
    }
    listed = [words for kind, words in kinds.items() if any(f.actor_type == kind for f in findings)]
    clients = list(dict.fromkeys(str(f.evidence.get("ClientApp") or "") for f in findings))
    through = [client for client in clients if client][:4]
    return (
        f"who and how: {', '.join(listed)}{' through ' + ', '.join(through) if through else ''}"
        if listed
        else ""
    )


def _explained(findings: Sequence[Finding], *, refused: bool) -> list[str]:
    """Say which explanations hold, and that they do not count where the story has an attack step."""
    texts = _few(
        dict.fromkeys(
            f"{one.reason}{' (' + one.reference + ')' if one.reference else ''}"
            for finding in findings
            for one in finding.explanations
        )
    )
    if refused:
        return [f"could be explained, but not next to what nobody explained: {text}" for text in texts]
    return [f"explained: {text}" for text in texts]


def _few(texts: Iterable[str]) -> list[str]:
    """Return the first sentences and how many more there are: retention explains hundreds of findings alike."""
    listed = list(texts)
    more = len(listed) - _SENTENCES
    return [*listed[:_SENTENCES], f"and {more} more like these"] if more > 0 else listed


def _confidence(findings: Sequence[Finding], level: int) -> str:
    best = max(LEVELS.index(f.confidence) if f.confidence in LEVELS else 1 for f in findings)
    independent = len({finding.rule for finding in findings if _index(finding) >= _MEDIUM})
    if independent > 2 and level >= _HIGH:  # noqa: PLR2004
        best = min(best + 1, 2)
    return LEVELS[best]


def _verdict(findings: Sequence[Finding], level: int, confidence: str) -> str:
    rules = {finding.rule for finding in findings if _index(finding) >= _MEDIUM}
    chain = any(f.kind == "chain" and _index(f) >= _HIGH for f in findings)
    if level == SEVERITIES.index("critical") or (
        level == _HIGH and confidence == "high" and (chain or len(rules) > 1)
    ):
        return "attack"
    if level >= _MEDIUM:
        return "suspicious"
    # Informational findings and those of the service itself are noise on their own; they say nothing about the others.
    telling = [f for f in findings if f.actor_type != "System" and _index(f) > 0]
    if not telling:
        return "noise"
    heavy = [f for f in telling if SEVERITIES.index(f.rated or f.severity) >= _MEDIUM]
    return "authorised" if all(finding.explanations for finding in heavy or telling) else "undetermined"
