"""The model, the compiled file and the token server's matcher give the same answers."""

from __future__ import annotations

import ipaddress
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.access import docker_auth, inventories
from wharfinger.access import VERIFICATION_ACCOUNT, Policy, Rule, auth_config
from wharfinger.tokens import acl, configuration

HASH = "$2b$10$" + "a" * 53
ASKERS = (*inventories.USERS, VERIFICATION_ACCOUNT, None)
VERBS = ("pull", "push", "delete", "list")


def configured(policy: Policy) -> dict[str, Any]:
    """The whole file, as a server reads it back from YAML."""
    hashes = dict.fromkeys((*policy.users, VERIFICATION_ACCOUNT), HASH)
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
    """Type, name and action that the registry asks for: the catalog's action is `*`."""
    return ("registry", "catalog", "*") if verb == "list" else ("repository", repository, verb)


def compiled_allows(config: dict[str, Any], user: str | None, verb: str, repository: str) -> bool:
    if (user or "") not in config["users"]:
        return False
    kind, name, action = scope(verb, repository)
    found = docker_auth.access(config, user or "", f"{kind}:{name}:{action}")
    return bool(found["actions"] == [action])


def server_allows(
    loaded: configuration.Configuration, user: str | None, verb: str, repository: str
) -> bool:
    if (user or "") not in loaded.users:
        return False
    kind, name, action = scope(verb, repository)
    question = acl.Question(
        account=user or "",
        type=kind,
        name=name,
        service="registry.example.com",
        ip=ipaddress.ip_address("10.0.0.7"),
        actions=(action,),
        labels=loaded.users[user or ""].labels,
    )
    return loaded.acl.decide(question).actions == (action,)


def policy(*rules: Rule, **groups: tuple[str, ...]) -> Policy:
    return Policy(inventories.USERS, {"g": (), "h.h": (), **groups}, rules)


@settings(max_examples=200, deadline=None)
@given(
    found=inventories.policies(),
    questions=st.lists(inventories.repositories, min_size=1, max_size=8),
)
@example(policy(Rule(1, ("ci.robot",), ("pull",), ("{user}/**",))), ["cixrobot/x", "ci.robot/x"])
@example(policy(Rule(1, ("everyone",), ("all",), ("**",))), ["catalog", "x/y"])
@example(policy(Rule(1, ("everyone", "anonymous"), ("all",), ("all",))), [VERIFICATION_ACCOUNT])
@example(policy(Rule(1, ("anonymous",), ("pull",), ("**",))), [f"{VERIFICATION_ACCOUNT}/x"])
@example(policy(Rule(1, ("anonymous",), ("all",), ("{user}/*",))), ["/alice"])
@example(policy(Rule(1, ("group:g",), ("pull", "list"), ("all",)), g=("a-b",)), ["x"])
def test_model_compiled_file_and_token_server_agree(found: Policy, questions: list[str]) -> None:
    config = configured(found)
    loaded = configuration.load(yaml.safe_dump(config, sort_keys=False))
    for user in ASKERS:
        for repository in questions:
            for verb in VERBS:
                decided = found.decide(user, verb, None if verb == "list" else repository)
                asked = (found, user, verb, repository)
                assert compiled_allows(config, user, verb, repository) == decided.allowed, asked
                assert server_allows(loaded, user, verb, repository) == decided.allowed, asked
