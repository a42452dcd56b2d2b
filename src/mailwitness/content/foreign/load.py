"""Load folders of rules that others wrote; one that cannot be used is reported, and never stops the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from mailwitness.content import schemas
from mailwitness.content.foreign import reading, sentinel_rule, sigma_chain, sigma_rule
from mailwitness.errors import ContentError
from mailwitness.models import NotEvaluated

_SUFFIXES = {".yaml", ".yml"}


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that cannot be used.

    Attributes:
        file: name of the file, without its folder: the same wherever a run is repeated.
        is_broken: the file itself is wrong; otherwise it asks for something that we do not have.
    """

    file: str
    kind: str
    name: str
    reason: str
    remedy: str
    is_broken: bool = False

    def as_not_evaluated(self) -> NotEvaluated:
        """Return the report's line: a broken file was meant to run, so that a clear verdict is impossible."""
        shown = f"{self.name} ({self.file})" if self.name else self.file
        return NotEvaluated(
            what=f"rule: {shown}", reason=self.reason, remedy=self.remedy, blocking=self.is_broken
        )


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with the file and language it came from."""

    file: Path
    kind: str
    rule: schemas.Rule


class AcceptedChain(msgspec.Struct, frozen=True, kw_only=True):
    """A chain made of a Sigma correlation, with its file."""

    file: Path
    chain: schemas.Chain


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder of rules gave, in the order of file names."""

    accepted: list[Accepted]
    refused: list[Refused]
    chains: list[AcceptedChain] = []


def files(folder: Path) -> list[Path]:
    """Return the rule files of a folder, or the file itself."""
    if not folder.is_dir():
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


def load(*folders: Path) -> Loaded:
    """Read every rule of the given folders and files: Sentinel's YAML and Sigma, mixed.

    Raises:
        ContentError: a folder holds no rule file, or none of its files can be read at all.
    """
    accepted: list[Accepted] = []
    refused: list[Refused] = []
    chains: list[AcceptedChain] = []
    for folder in folders:
        listed = files(folder)
        if not listed:
            raise ContentError(
                "there is no rule here", place=str(folder), remedy="Name a rule file or a folder of rules."
            )
        broken: list[ContentError] = []
        for path in listed:
            try:
                _add(path, accepted, refused, chains)
            except ContentError as error:
                broken.append(error)
                refused.append(_refusal(path, "", "", error, is_broken=True))
        if len(broken) == len(listed):
            raise broken[0]
    return Loaded(accepted=accepted, refused=refused, chains=chains)


def _add(path: Path, accepted: list[Accepted], refused: list[Refused], chains: list[AcceptedChain]) -> None:
    documents = _rule_documents(path)
    if any("correlation" in document for document in documents):
        made_chains = sigma_chain.compile_chains(path, documents)
        chains += [
            AcceptedChain(file=path, chain=one) for one in made_chains if isinstance(one, schemas.Chain)
        ]
        refused += [
            _refusal(path, "Sigma", _name(documents[-1]), one)
            for one in made_chains
            if isinstance(one, ContentError)
        ]
        return
    if any(sigma_rule.is_sigma(document) for document in documents):
        kind, made = "Sigma", sigma_rule.compile_rules(path, documents)
    elif any("query" in document for document in documents):
        kind, made = "Sentinel", [sentinel_rule.rule_of(path, document) for document in documents]
    else:
        raise ContentError(
            "it is neither a Sentinel rule nor a Sigma rule", place=str(path), remedy="Leave it out."
        )
    for document, item in zip([*documents, *[{}] * len(made)], made, strict=False):
        if isinstance(item, schemas.Rule):
            accepted.append(Accepted(file=path, kind=kind, rule=item))
        else:
            refused.append(_refusal(path, kind, _name(document), item))


def _rule_documents(path: Path) -> list[dict[str, Any]]:  # Any: YAML values
    """Return the documents of a file, each a mapping of keys."""
    found = reading.documents(path)
    for document in found:
        if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
            raise ContentError(
                "it is no rule: a mapping of keys is expected",
                place=str(path),
                remedy="Correct the file, or leave it out.",
            )
    return found


def _name(document: dict[str, Any]) -> str:  # Any: YAML values
    return " ".join(str(document.get("title") or document.get("name") or "").split())[:200]


def _refusal(path: Path, kind: str, name: str, error: ContentError, *, is_broken: bool = False) -> Refused:
    return Refused(
        file=path.name, kind=kind, name=name, reason=error.message, remedy=error.remedy, is_broken=is_broken
    )
