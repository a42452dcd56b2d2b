"""The shipped chains: each keeps its own tests, and a broken one is refused in words."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mailwitness import chain_check, chain_narrowing
from mailwitness.activities import vocabulary
from mailwitness.content import loader
from mailwitness.content.schemas import Chain
from mailwitness.content_check import TEST_NOW, Bench, chain_problems, chain_tests, run_chain_tests


def test_every_shipped_chain_is_sound_and_keeps_its_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    # So few acts are not narrowed otherwise.
    monkeypatch.setattr(chain_narrowing, "WORTHWHILE", 0)
    bench = Bench()

    problems = list(chain_problems(bench, []))
    failed = [outcome for outcome in chain_tests(bench, []) if outcome.problem]

    bench.close()
    assert problems == []
    assert failed == []


@pytest.fixture
def sound() -> Chain:
    return next(chain for _, chain in loader.chains())


def problems_of(chain: Chain) -> str:
    bench = Bench()
    found = " / ".join(
        chain_check.problems(chain, bench.engine, vocabulary(loader.parsers()), set(), now=TEST_NOW)
    )
    bench.close()
    return found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"filter": 'Activity == "Exprted"'}, "'Exprted' is no activity"),
        ({"filter": 'Actor == "eva"'}, "names no activity"),
        ({"filter": 'Activity == "Exported" and TimeGenerated > ago(1d)'}, "reads the clock"),
        ({"filter": ""}, "give one of filter, query and rule"),
        ({"filter": "", "rule": "nobody"}, "there is no rule nobody"),
        ({"join": {"cousin": "1d"}}, "'cousin' is no way of joining"),
        ({"join": {"actor": "soon"}}, "'soon' is no time span"),
    ],
)
def test_a_wrong_step_is_said_in_words(sound: Chain, changes: dict[str, object], words: str) -> None:
    last = sound.correlation.rules[-1]
    step = msgspec.structs.replace(sound.steps[last], **changes)

    found = problems_of(msgspec.structs.replace(sound, steps={**sound.steps, last: step}))

    assert words in found


def test_a_chain_without_a_benign_twin_is_not_complete(sound: Chain) -> None:
    tests = [test for test in sound.tests if test.kind != "benign_twin"]

    assert "no test of kind benign_twin" in problems_of(msgspec.structs.replace(sound, tests=tests))


def test_a_failing_chain_test_ends_with_exit_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(path for path, _ in loader.chains())
    broken = tmp_path / "broken.yaml"
    broken.write_text(path.read_text("utf-8").replace("expect: match", "expect: silent"), encoding="utf-8")

    code = run_chain_tests([broken])

    assert code == 2
    assert "expected silence" in capsys.readouterr().out
