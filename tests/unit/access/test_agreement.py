"""The model, the compiled file and the token server's matcher give the same answers."""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from golden import docker_auth
from tests.unit.access import inventories
from wharfinger.access import VERIFICATION_ACCOUNT, Policy, Robot, Rule
from wharfinger.docker_auth import auth_config
from wharfinger.token_server import acl
from wharfinger.token_server.config import Configuration, load

HASH = "$2b$10$" + "a" * 53
ASKERS = (*inventories.USERS, *inventories.ROBOTS, VERIFICATION_ACCOUNT, None)
VERBS = ("pull", "push", "delete", "list")
HERE, AWAY = "10.0.0.7", "127.0.0.1"


def configured(policy: Policy) -> dict[str, Any]:
    """The whole file, as a server reads it back from YAML."""
    hashes = dict.fromkeys((*policy.users, *policy.robots, VERIFICATION_ACCOUNT), HASH)
    text = yaml.safe_dump(
        auth_config(
            policy,
            hashes,
            issuer="registry.example.com",
            certificate_path="/config/signing.pem",
            key_path="/config/signing.pem",
            expiration=300,
            addr=":5002",
            real_ip_header="X-Real-IP",
        ),
        sort_keys=False,
    )
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def scope(verb: str, repository: str) -> tuple[str, str, str]:
    """Type, name and action that the registry asks for; the catalog's action is `*`."""
    return ("registry", "catalog", "*") if verb == "list" else ("repository", repository, verb)


def compiled_allows(
    config: dict[str, Any], user: str | None, verb: str, repository: str, address: str
) -> bool:
    if (user or "") not in config["users"]:
        return False
    kind, name, action = scope(verb, repository)
    decision = docker_auth.access(config, user or "", f"{kind}:{name}:{action}", ip=address)
    return bool(decision["actions"] == [action])


def server_allows(
    loaded: Configuration,
    user: str | None,
    verb: str,
    repository: str,
    address: str,
) -> bool:
    if (user or "") not in loaded.users:
        return False
    kind, name, action = scope(verb, repository)
    question = acl.Question(
        account=user or "",
        type=kind,
        name=name,
        service="registry.example.com",
        ip=ipaddress.ip_address(address),
        actions=(action,),
        labels=tuple(loaded.users[user or ""].labels.items()),
    )
    return loaded.acl.decide(question).actions == (action,)


def policy(*rules: Rule, **groups: tuple[str, ...]) -> Policy:
    return Policy(inventories.USERS, {"g": (), "h.h": (), **groups}, rules)


def of_robots(*rules: Rule) -> Policy:
    """A policy with robots, one of which may only come from 10.0.0.0/8."""
    robots = {"nodes": Robot((ipaddress.ip_network("10.0.0.0/8"),)), "ci.job": Robot()}
    return Policy(inventories.USERS, {"g": (), "h.h": ()}, rules, robots)


@settings(max_examples=200, deadline=None)
@given(
    policy=inventories.policies(),
    questions=st.lists(inventories.repositories, min_size=1, max_size=8),
    addresses=st.lists(st.sampled_from(inventories.ADDRESSES), min_size=1, max_size=8),
)
@example(
    policy(Rule(1, ("ci.robot",), ("pull",), ("{user}/**",))), ["cixrobot/x", "ci.robot/x"], [HERE]
)
@example(policy(Rule(1, ("everyone",), ("all",), ("**",))), ["catalog", "x/y"], [HERE])
@example(
    policy(Rule(1, ("everyone", "anonymous"), ("all",), ("all",))), [VERIFICATION_ACCOUNT], [HERE]
)
@example(policy(Rule(1, ("anonymous",), ("pull",), ("**",))), [f"{VERIFICATION_ACCOUNT}/x"], [HERE])
@example(policy(Rule(1, ("anonymous",), ("all",), ("{user}/*",))), ["/alice"], [HERE])
@example(policy(Rule(1, ("group:g",), ("pull", "list"), ("all",)), g=("a-b",)), ["x"], [HERE])
@example(of_robots(Rule(1, ("everyone",), ("all",), ("all",))), ["x"], [HERE])
@example(of_robots(Rule(1, ("robot:nodes",), ("pull", "list"), ("all",))), ["x", "x"], [HERE, AWAY])
@example(of_robots(Rule(1, ("robot:ci.job",), ("all",), ("{user}/*",))), ["ci.job/x"], [AWAY])
@example(of_robots(Rule(1, ("anonymous",), ("pull",), ("**",))), ["x"], [HERE])
def test_model_compiled_file_and_token_server_agree(
    policy: Policy, questions: list[str], addresses: list[str]
) -> None:
    config = configured(policy)
    loaded = load(yaml.safe_dump(config, sort_keys=False))
    for user in ASKERS:
        for repository, address in zip(questions, itertools.cycle(addresses), strict=False):
            for verb in VERBS:
                question = (user, verb, None if verb == "list" else repository, address)
                decided = policy.decide(*question)
                request = (user, verb, repository, address)
                assert compiled_allows(config, *request) == decided.allowed, (policy, question)
                assert server_allows(loaded, *request) == decided.allowed, (policy, question)


def test_users_have_a_label_that_distinguishes_them_from_robots_only_if_there_are_robots() -> None:
    rules = (Rule(1, ("everyone",), ("pull",), ("**",)),)
    without = configured(policy(*rules))
    assert without["acl"][-1]["match"]["account"] == "/.+/"
    assert "labels" not in without["users"]["alice"]
    with_robots = configured(of_robots(*rules))
    assert with_robots["acl"][-1]["match"]["labels"] == {"kind": "user"}
    assert with_robots["users"]["alice"]["labels"] == {"kind": ["user"]}
    assert "labels" not in with_robots["users"]["nodes"]
