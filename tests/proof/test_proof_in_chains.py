"""Chains ask the tables of the proof like any other table."""

from __future__ import annotations

from pathlib import Path

from mailwitness import content_check

CHAIN = """\
id: 0f2b7c1e-4c58-4a53-9a0e-1d5b7f3c9eff
name: unexplained_rule_then_loss
title: A rule that nobody made, and messages that are gone
description: A rule of a mailbox that no record explains, and within a week messages of it are gone.
level: high
confidence: medium
finding: "{rule.ObjectName} of {rule.Mailbox}, and messages are gone"
reasons: {severity: A rule and a loss., confidence: Two snapshots and a listing.}
correlation: {type: temporal_ordered, rules: [rule, gone], timespan: 8d}
steps:
  rule:
    title: a rule came that nobody made
    query: |
      SettingHistory | where Origin == "unexplained" | project TimeGenerated, Activity = "InboxRuleCreated", Mailbox, ObjectName = Name, _Exhibit, _Position
  gone:
    title: messages gone
    query: |
      MessageLedger | where Verdict == "gone without record" | project TimeGenerated = LastSeen, Activity = "HardDeleted", Mailbox, MessageId, _Exhibit, _Position
    join: {mailbox: 7d}
attack: {v18: [T1070.008], v19: [T1070.008], tactics_v19: [stealth], strategies: [DET0266], analytics: [AN0740]}
falsepositives: [none]
gaps: [none]
guide: [none]
tests:
  - name: both of one mailbox
    kind: hit
    expect: match
    seen: [rule, gone]
    rows:
      SettingHistory: [{TimeGenerated: '2026-03-02T08:00:00Z', Kind: inbox rule, Mailbox: eva@contoso.example, Name: zz, Origin: unexplained}]
      MessageLedger: [{LastSeen: '2026-03-03T08:00:00Z', Mailbox: eva@contoso.example, MessageId: <a@b.example>, Verdict: gone without record}]
  - name: the loss of another mailbox
    kind: near_miss
    expect: silent
    rows:
      SettingHistory: [{TimeGenerated: '2026-03-02T08:00:00Z', Kind: inbox rule, Mailbox: eva@contoso.example, Name: zz, Origin: unexplained}]
      MessageLedger: [{LastSeen: '2026-03-03T08:00:00Z', Mailbox: bob@contoso.example, MessageId: <a@b.example>, Verdict: gone without record}]
"""


def test_a_chain_joins_a_rule_that_nobody_made_with_messages_that_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(CHAIN)
    bench = content_check.Bench()

    try:
        outcomes = list(content_check.chain_tests(bench, [path]))
    finally:
        bench.close()

    assert [(one.name, one.problem) for one in outcomes] == [
        ("both of one mailbox", ""), ("the loss of another mailbox", ""),
    ]  # fmt: skip
