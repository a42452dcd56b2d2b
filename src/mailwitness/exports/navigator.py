"""An ATT&CK Navigator layer: the techniques that the cases show, coloured by severity.

Source: mitre-attack/attack-navigator, layer file format 4.5.
"""

from __future__ import annotations

from mailwitness.exports.facts import LEVELS, QUIET, JsonDict, clean, pretty, technique


def layer(report: JsonDict) -> bytes:
    """Return the layer; noise and authorised work are left out."""
    real = [case for case in report["cases"] if case["verdict"] not in QUIET]
    worst: dict[str, tuple[int, list[str]]] = {}
    for case in real:
        for name in case["techniques"]:
            score, comments = worst.get(name, (0, []))
            comment = f"{case['id']} ({case['severity']}): {clean(case['title'], 200)}"
            worst[name] = (max(score, LEVELS[case["severity"]]), [*comments, comment])
    techniques = [
        {
            "techniqueID": name,
            "score": score,
            "comment": "\n".join(comments),
            "enabled": True,
            "metadata": [{"name": "name", "value": technique(name).name}],
        }
        for name, (score, comments) in sorted(worst.items())
    ]
    return pretty(
        {
            "name": "mailwitness: techniques of this investigation",
            "versions": {"attack": "19", "navigator": "5.1.0", "layer": "4.5"},
            "domain": "enterprise-attack",
            "description": " ".join(report["summary"]["sentences"]),
            "techniques": techniques,
            # Colours that also people who confuse red and green tell apart, light to dark.
            "gradient": {"colors": ["#fee8c8", "#fdbb84", "#b30000"], "minValue": 1, "maxValue": 5},
            "hideDisabled": False,
            "sorting": 3,
        }
    )
