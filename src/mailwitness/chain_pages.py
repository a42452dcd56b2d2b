"""What a person reads about the chains on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mailwitness import chain_export
from mailwitness.chain_keys import words_of
from mailwitness.content import loader
from mailwitness.errors import ConfigError
from mailwitness.report.text import visible

if TYPE_CHECKING:
    from mailwitness.content.schemas import Chain, ChainStep

_OK = 0


def list_chains(*, as_json: bool) -> int:
    """Print every chain with its severity and steps."""
    found = [chain for _, chain in loader.chains()]
    if as_json:
        listed = [
            {
                "id": chain.id,
                "name": chain.name,
                "title": chain.title,
                "severity": chain.level,
                "confidence": chain.confidence,
                "type": chain.correlation.type,
                "timespan": chain.correlation.timespan,
                "steps": [step.title for step in chain.ordered()],
                "techniques": chain.attack.v19 or chain.attack.v18,
            }
            for chain in found
        ]
        print(json.dumps(listed, indent=1))
        return _OK
    for chain in found:
        steps = " -> ".join(f"({one.title})" if one.optional else one.title for one in chain.ordered())
        print(f"{chain.level:<9} {chain.name}\n          {chain.title}\n          {steps}")
    print(f"{len(found)} chains; a step in brackets may be missing")
    return _OK


def show_chain(name: str, *, as_kql: bool) -> int:
    """Print one chain.

    Raises:
        ConfigError: no chain, or more than one, has this name.
    """
    chain = _named(name)
    if as_kql:
        print(chain_export.to_kql(chain))
        return _OK
    techniques = ", ".join([*chain.attack.v19, *chain.attack.strategies, *chain.attack.analytics])
    print(f"{chain.title}\n{chain.id}  {chain.level}, {chain.confidence} confidence  {techniques}\n")
    print(chain.description.strip() + "\n")
    span = chain.correlation.timespan
    print(
        f"Steps ({chain.correlation.type}, {'no limit of time' if span == 'unlimited' else f'within {span}'}):"
    )
    for number, step in enumerate(chain.ordered(), 1):
        _print_step(number, step, chain)
    for forbidden in chain.forbidden.values():
        print(f"  not with {forbidden.title} {forbidden.where} (within {forbidden.within})")
    _print_list("Reasons", [str(reason) for reason in chain.reasons.values()])
    _print_list("False positives", chain.falsepositives)
    _print_list("Gaps", chain.gaps)
    _print_list("What to do", chain.guide)
    return _OK


def _print_step(number: int, step: ChainStep, chain: Chain) -> None:
    optional = " (may be missing)" if step.optional else ""
    print(f"  {number}. {step.title}{optional}")
    for way, gap in step.join.items():
        limit = "at any distance" if gap == "unlimited" else f"within {gap}"
        print(f"     joined by {words_of(way)}, {limit}")
    if not step.join and number > 1 and chain.correlation.group_by:
        print(f"     joined by {words_of('+'.join(chain.correlation.group_by))}")
    print(f"     {step.filter or step.query or 'findings of the rule ' + step.rule}".rstrip()[:400])


def _print_list(heading: str, lines: list[str]) -> None:
    print(f"\n{heading}:")
    for line in lines:
        print(f"  - {line}")


def _named(name: str) -> Chain:
    wanted = name.lower()
    chains = [chain for _, chain in loader.chains()]
    exact = [chain for chain in chains if wanted in {chain.id, chain.name}]
    found = exact or [chain for chain in chains if wanted in f"{chain.name} {chain.title}".lower()]
    if len(found) != 1:
        shown = ", ".join(chain.name for chain in found[:10])
        message = f"{len(found)} chains are called {visible(name, 80)!r}" + (f": {shown}" if shown else "")
        raise ConfigError(message, remedy="Take a name from `mailwitness chains list`.")
    return found[0]
