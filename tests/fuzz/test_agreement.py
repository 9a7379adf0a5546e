"""Fifty thousand pairs of tests/fuzz/agreement.py, and proof that the comparison finds faults."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golden import docker_auth
from tests.fuzz import agreement, evidence, inventories
from wharfinger.access import compiler, policy
from wharfinger.token_server import acl, patterns

PAIRS = 50_000
RULE_SETS = PAIRS // agreement.PER_RULE_SET


@pytest.fixture(scope="module")
def run() -> agreement.Run:
    return agreement.run(1, RULE_SETS, workers=os.cpu_count() or 1)


def test_model_compiled_file_and_server_agree(run: agreement.Run) -> None:
    assert run.differences == []
    assert run.counts["pairs"] == PAIRS


def test_the_questions_are_about_everything_that_rules_can_say(run: agreement.Run) -> None:
    counts = run.counts
    assert len(run.digests) > 0.95 * RULE_SETS
    assert counts["sets of rules that preflight accepts"] == RULE_SETS / 2
    for common in (
        *("something is granted", "repositories of no possible name", "not signed in", "robots"),
    ):
        assert counts[common] > 0.1 * PAIRS, common
    for rarer in (
        *("the catalog", "no scope: refused with 400", "robots from where they may not"),
    ):
        assert counts[rarer] > 0.005 * PAIRS, rarer


def test_the_report_has_the_counts_and_the_command(
    run: agreement.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.md"
    status = agreement.main(["--pairs", "400", "--workers", "1", "--report", str(file)])
    assert status == 0
    text = file.read_text(encoding="utf-8")
    assert text.startswith(f"{evidence.TITLE}\n\n## ")
    assert text.rstrip().endswith(capsys.readouterr().out.rstrip())
    assert "`tests/fuzz/agreement.py --pairs 400 --seed 1`" in text
    assert "| pairs of a set of rules and a request | 400 |" in text
    assert "| **the three differ** | 0 |" in text


def test_each_program_has_its_chapter_on_the_page(tmp_path: Path) -> None:
    page = tmp_path / "evidence" / "fuzz.md"
    for heading, text in (("One", "first"), ("Two", "second"), ("One", "third")):
        evidence.write(page, heading, evidence.chapter(heading, [text]))
    assert page.read_text() == f"{evidence.TITLE}\n\n## Two\n\nsecond\n\n## One\n\nthird\n"


def test_a_run_that_was_ended_goes_on_where_it_was() -> None:
    whole = agreement.run(3, 20)
    first, second = agreement.run(3, 12), agreement.run(3, 8, first=12)
    assert whole.digests == first.digests | second.digests
    assert whole.counts == first.counts + second.counts


def test_a_difference_is_reported_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agreement, "by_the_model", lambda policy, question: ["pull"])
    assert agreement.main(["--pairs", "40", "--workers", "1"]) == 1
    out, err = capsys.readouterr()
    assert "the model gives ['pull'], the compiled file [" in err
    assert "| **the three differ** | 0 |" not in out
    assert agreement.main(["--rule-set", "0"]) == 1
    assert "Inventory(users=" in capsys.readouterr().out


ANCHORED, MATCHES = compiler.anchored, policy.matches
PREFIX, PRINCIPALS = patterns.literal_prefix, compiler._principals
NAMES = policy.Policy._names


def star_takes_many(pattern: Any, path: Any, user: Any) -> bool:
    return MATCHES(["**" if segment == "*" else segment for segment in pattern], path, user)


def empty_segments_count(pattern: Any, path: Any, user: Any) -> bool:
    return MATCHES(pattern, [segment or "x" for segment in path], user)


def any_user(pattern: Any, path: Any, user: Any) -> bool:
    return MATCHES(["*" if segment == "{user}" else segment for segment in pattern], path, user)


def one_character_too_many(pattern: str) -> str:
    prefix = PREFIX(pattern)
    return prefix + "/" if prefix else prefix


FAULTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "compiler: no anchor at the end": (compiler, "anchored", lambda p: ANCHORED(p)[:-1]),
    "compiler: no anchor in front": (compiler, "anchored", lambda p: ANCHORED(p)[1:]),
    "compiler: dots are not quoted": (
        compiler,
        "anchored",
        lambda p: ANCHORED(p).replace("\\.", "."),
    ),
    "compiler: ** may be nothing": (
        compiler,
        "anchored",
        lambda p: ANCHORED(p).replace("(/[^/]+)+", "(/[^/]+)*"),
    ),
    "compiler: $ is also before a last newline": (
        compiler,
        "anchored",
        lambda p: ANCHORED(p)[:-1] + "\n?$",
    ),
    "compiler: push is lost": (
        compiler,
        "_actions",
        lambda rule: [action for action in ("pull", "delete") if rule.gives(action)],
    ),
    "compiler: everyone includes robots": (
        compiler,
        "_principals",
        lambda who, inventory: (
            [{"account": "/.+/"}] if who == "everyone" else PRINCIPALS(who, inventory)
        ),
    ),
    "compiler: robots may come from everywhere": (
        compiler,
        "_principals",
        lambda who, inventory: [
            {k: v for k, v in match.items() if k != "ip"} for match in PRINCIPALS(who, inventory)
        ],
    ),
    "server: robots may log in from everywhere": (
        agreement,
        "not_allowed_reason",
        lambda *arguments: "",
    ),
    "model: robots are everyone": (
        policy.Policy,
        "_names",
        lambda self, user, address: NAMES(self, user, address) | ({"everyone"} if user else set()),
    ),
    "model: * takes many": (policy, "matches", star_takes_many),
    "model: empty segments count": (policy, "matches", empty_segments_count),
    "model: {user} is anyone": (policy, "matches", any_user),
    "model: who is in no group": (policy.Policy, "groups_of", lambda self, user: ()),
    "server: values are not quoted": (acl, "quote", lambda value: value),
    "server: a prefix that is too long": (acl, "literal_prefix", one_character_too_many),
    "server: grants what was not requested": (acl, "_granted", lambda requested, actions: actions),
    "server: the last entry decides": (
        acl.AccessControlList,
        "_find_concerning",
        lambda self, asker: range(len(self.entries))[::-1],
    ),
    "reading: unanchored globs": (docker_auth, "from_glob", lambda glob: ".*"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_one_of_the_three_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, wrong = FAULTS[fault]
    monkeypatch.setattr(where, name, wrong)
    docker_auth.expression.cache_clear()
    detected = next((n for n in range(RULE_SETS) if agreement.compare(1, n).differences), None)
    docker_auth.expression.cache_clear()
    assert detected is not None


def test_the_vocabulary_has_names_that_a_regular_expression_would_misread() -> None:
    assert {"ci.robot", "cixrobot"} <= set(inventories.USERS)
    assert {"te.m", "team"} <= set(inventories.LITERALS)
