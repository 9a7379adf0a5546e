#!/usr/bin/env python3
"""Three readings of one inventory share no code and give the same answer to each question.

1. the model: wharfinger.access, `Policy.decide`, from the inventory's words;
2. the compiled file, in the tests' own reading of docker_auth (golden/docker_auth.py);
3. the token server: wharfinger.token_server reads that file and the request as the registry's
   clients send it (a query string, a Basic header, the proxy's header), and decides.

    tests/fuzz/agreement.py --pairs 1000000 --report docs/evidence/fuzz.md
    tests/fuzz/agreement.py --rule-set 4711 --seed 1      one set of rules again, with its questions

A pair is one set of rules with one request. A set of rules depends only on the seed and
its number, so `--first` continues an interrupted run.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import multiprocessing
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

if not __package__:
    # When this runs as a file, Python looks for modules in tests/fuzz, but ours are below the root
    # and tests/library.
    root = Path(__file__).resolve().parents[2]
    sys.path[:1] = [str(root), str(root / "tests/library")]

from golden import docker_auth
from tests.fuzz import evidence, inventories
from tests.fuzz.inventories import Inventory, Question
from wharfinger.access import VERIFICATION_ACCOUNT, Policy, Rule
from wharfinger.access.validation import examine
from wharfinger.docker_auth import auth_config
from wharfinger.token_server import acl, config, token_request
from wharfinger.token_server.issue import decide
from wharfinger.token_server.login.authentication import not_allowed_reason

HEADING = "Model, compiled file and token server agree"
HASH = "$2b$10$" + "a" * 53
SERVICE = "registry.example.com"
# The OCI distribution specification's <name>.
REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
PER_RULE_SET = 40
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Outcome:
    """The result for one set of rules: its identity, the counts, and where the three differ."""

    number: int
    digest: bytes
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def understood(inventory: Inventory, *, accepted: bool) -> tuple[Inventory, Policy]:
    """The model of what preflight accepts, or of an inventory with rules that it would refuse.

    Model, compiler and server must agree in both cases. An inventory that must be accepted loses
    the rules in which preflight finds a mistake.
    """
    while True:
        policy, review = examine(
            inventory.users, inventory.groups, inventory.access, inventory.robots
        )
        if not accepted:
            return inventory, replace(policy, rules=tuple(_rules(inventory.access)))
        faulty = {int(error.place.removeprefix("rule ")) for error in review.errors}
        if not faulty:
            return inventory, policy
        rules = [rule for number, rule in enumerate(inventory.access, 1) if number not in faulty]
        inventory = replace(inventory, access=rules)


def _rules(access: Sequence[dict[str, Any]]) -> Iterator[Rule]:
    """The rules in their plain form, whatever preflight says."""
    for number, rule in enumerate(access, 1):
        who, may, on = (
            (value,) if isinstance(value, str) else tuple(value)
            for value in (rule["who"], rule["may"], rule["on"])
        )
        yield Rule(number, who, may, on)


def compiled(policy: Policy) -> str:
    """The configuration file's text."""
    content = auth_config(
        policy,
        dict.fromkeys((*policy.users, *policy.robots, VERIFICATION_ACCOUNT), HASH),
        issuer=SERVICE,
        certificate_path="/config/signing.pem",
        key_path="/config/signing.pem",
        expiration=300,
        addr=":5002",
        real_ip_header="X-Real-IP",
    )
    return yaml.dump(content, Dumper=_DUMPER, sort_keys=False)


def by_the_model(policy: Policy, question: Question) -> list[str]:
    return sorted(
        "*" if verb == "list" else verb
        for verb in question.verbs
        if policy.decide(question.user, verb, question.repository, question.address).allowed
    )


def scope(question: Question) -> tuple[str, str, str]:
    """Type, name and actions, as the registry asks for them: the catalog's action is `*`."""
    if question.repository is None:
        return "registry", "catalog", "*"
    return "repository", question.repository, ",".join(question.verbs)


def by_the_reading(content: dict[str, Any], question: Question) -> list[str]:
    if (question.user or "") not in content["users"]:
        return []
    text = ":".join(scope(question))
    decision = docker_auth.access(content, question.user or "", text, SERVICE, question.address)
    actions: list[str] = decision["actions"]
    return actions


def by_the_server(server: config.Configuration, question: Question) -> tuple[list[str], bool]:
    """The granted actions, and whether the request was valid at all.

    The server refuses a name that no scope can have before it looks at the rules. The rules are
    asked anyway: they must be right without that check.
    """
    kind, name, actions = scope(question)
    query = urlencode({"service": SERVICE, "scope": f"{kind}:{name}:{actions}"}).encode()
    header = None
    if question.user is not None:
        header = "Basic " + base64.b64encode(f"{question.user}:secret".encode()).decode()
    account = question.user or ""
    address = token_request.client_address(server.server, question.address, "127.0.0.1")
    user = server.users.get(account)
    try:
        request = token_request.read_request(query, None, header)
    except token_request.BadRequest:
        if user is None:
            return [], False
        acl_question = acl.Question(
            *(account, kind, name, SERVICE, address, tuple(actions.split(","))),
            labels=tuple(user.labels.items()),
        )
        return list(server.acl.decide(acl_question).actions), False
    if user is None:
        return [], True
    if (request.account, [(part.type, part.name) for part in request.scopes]) != (
        account,
        [(kind, name)],
    ):
        raise AssertionError(f"{query!r} was read as {request}")
    (answer,) = decide(server, request, user, address)
    return list(answer.actions), True


def compare(seed: int, number: int, questions: int = PER_RULE_SET) -> Outcome:
    """Asks one set of rules this many questions."""
    rng = random.Random(f"{seed}:{number}")
    accepted = number % 2 == 0
    inventory, policy = understood(inventories.inventory(rng), accepted=accepted)
    outcome = Outcome(number, hashlib.blake2b(repr(inventory).encode(), digest_size=12).digest())
    counts = outcome.counts
    text = compiled(policy)
    try:
        server = config.load(text)
    except config.ConfigurationError as error:
        outcome.differences.append(
            f"rule set {number}: {inventory}: the server refuses it: {error}"
        )
        return outcome
    content = yaml.load(text, Loader=_LOADER)
    counts["sets of rules that preflight accepts"] += accepted
    counts["acl entries"] += len(content["acl"])
    for _ in range(questions):
        question = inventories.question(rng, inventory)
        model = by_the_model(policy, question)
        reading = by_the_reading(content, question)
        served, valid = by_the_server(server, question)
        counts["pairs"] += 1
        counts["something is granted"] += bool(model)
        counts["nothing is granted"] += not model
        counts["not signed in"] += question.user is None
        counts["robots"] += question.user in inventory.robots
        counts["robots from where they may not"] += _is_elsewhere(policy, question)
        counts["repositories of no possible name"] += not _is_a_name(question.repository)
        counts["the catalog"] += question.repository is None
        counts["no scope: refused with 400"] += not valid
        counts["of these the rules would grant"] += bool(model) and not valid
        if question.user in policy.robots:
            address = token_request.client_address(server.server, question.address, None)
            refused = bool(not_allowed_reason(server.users[question.user], address, 0.0))
            if refused != _is_elsewhere(policy, question):
                outcome.differences.append(
                    f"rule set {number}: {inventory.robots}: {question}: the server "
                    f"{'refuses' if refused else 'takes'} the login, the model does not"
                )
        if not model == reading == served:
            outcome.differences.append(
                f"rule set {number}: {inventory}: {question}: the model gives {model}, "
                f"the compiled file {reading}, the server {served}"
            )
    return outcome


def _is_elsewhere(policy: Policy, question: Question) -> bool:
    robot = policy.robots.get(question.user or "")
    return robot is not None and not robot.comes_from(question.address)


def _is_a_name(repository: str | None) -> bool:
    return repository is None or REPOSITORY.fullmatch(repository) is not None


def _share(job: tuple[int, range, int]) -> list[Outcome]:
    seed, numbers, questions = job
    outcomes = [compare(seed, number, questions) for number in numbers]
    # The cached patterns belong to rules that will not be asked again.
    docker_auth.expression.cache_clear()
    return outcomes


@dataclass
class Run:
    """The totals of a run."""

    rule_sets: int = 0
    digests: set[bytes] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0


def outcomes(
    seed: int, first: int, rule_sets: int, questions: int, workers: int
) -> Iterator[Outcome]:
    jobs = [
        (seed, range(at, min(at + 50, first + rule_sets)), questions)
        for at in range(first, first + rule_sets, 50)
    ]
    if workers == 1:
        for job in jobs:
            yield from _share(job)
        return
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        for outcomes in pool.imap(_share, jobs):
            yield from outcomes


def run(
    seed: int, rule_sets: int, *, first: int = 0, questions: int = PER_RULE_SET, workers: int = 1
) -> Run:
    begun = time.monotonic()
    total = Run()
    for outcome in outcomes(seed, first, rule_sets, questions, workers):
        total.rule_sets += 1
        total.digests.add(outcome.digest)
        total.counts += outcome.counts
        total.differences += outcome.differences
        if total.rule_sets % 2500 == 0:
            progress = f"{total.counts['pairs']:,} pairs, {time.monotonic() - begun:.0f} s"
            print(f"{progress}, next: --first {first + total.rule_sets}", file=sys.stderr)
    total.seconds = time.monotonic() - begun
    return total


def report(total: Run, command: str) -> str:
    """The chapter for the page of evidence."""
    rows = [
        ("pairs of a set of rules and a request", total.counts["pairs"]),
        ("different sets of rules", len(total.digests)),
        *((name, count) for name, count in total.counts.items() if name != "pairs"),
        ("**the three differ**", len(total.differences)),
    ]
    return evidence.chapter(
        HEADING,
        [
            "Random inventories and requests, answered by `Policy.decide`, by the compiled file",
            "in the tests' own reading of docker_auth, and by the token server from the query",
            "string on. The three share no code (tests/fuzz/test_independence.py), and faults",
            "put into each of them on purpose are found (tests/fuzz/test_agreement.py).",
            "",
            evidence.made(command, total.seconds),
            "",
            "| what | how many |",
            "|---|---|",
            *(f"| {name} | {count:,} |" for name, count in rows),
        ],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare model, compiled file and token server.")
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first set of rules")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rule-set", type=int, help="only this one, and show its questions")
    parser.add_argument("--report", type=Path, help="put a chapter on this page (Markdown)")
    options = parser.parse_args(arguments)
    if options.rule_set is not None:
        rng = random.Random(f"{options.seed}:{options.rule_set}")
        print(inventories.inventory(rng))
        outcome = compare(options.seed, options.rule_set)
        print("\n".join(outcome.differences) or "no differences")
        return 1 if outcome.differences else 0
    rule_sets = -(-options.pairs // PER_RULE_SET)
    total = run(options.seed, rule_sets, first=options.first, workers=options.workers)
    command = f"tests/fuzz/agreement.py --pairs {options.pairs} --seed {options.seed}"
    if options.first:
        command += f" --first {options.first}"
    text = report(total, command)
    print(text)
    if options.report:
        evidence.write(options.report, HEADING, text)
    for difference in total.differences[:20]:
        print(difference, file=sys.stderr)
    return 1 if total.differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
