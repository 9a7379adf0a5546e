"""Denials: each account asks the running registry for everything, and gets the answer that a model
of the rules predicts. The model shares no code with the server that decides."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from support import evidence, hosts
from support.images import REPOSITORIES, Pushed, push_everywhere
from support.registry import Account, Registry
from wharfinger.access import Policy, read_policy

ACCOUNTS = ("admin", "readonly", "someuser", "stranger", "anonymous")
VERBS = ("pull", "push", "delete")
RULES = Path(__file__).resolve().parents[1] / "group_vars/registry/access.yml"


@pytest.fixture(scope="module")
def registry(name: str) -> Registry:
    return hosts.registry(name)


@pytest.fixture(scope="module")
def images(registry: Registry) -> dict[str, Pushed]:
    """One image in each repository: repository → image."""
    return push_everywhere(registry, hosts.account("admin"))


def policy() -> Policy:
    rules = yaml.safe_load(RULES.read_text())["registry_access"]
    users: dict[str, object] = {name: {} for name in hosts.users()["registry_users"]}
    robots = yaml.safe_load(RULES.with_name("users.yml").read_text())["registry_robots"]
    return read_policy(users, {"developers": ["someuser"]}, rules, robots)


def done(registry: Registry, account: Account, verb: str, image: Pushed) -> int:
    """The status of the account's attempt."""
    where = image.repository
    if verb == "push":
        return registry.push(account, where, "by-hardening", os.urandom(64)).status
    if verb == "pull":
        blob = registry.blob(account, where, image.layer_digest)
        manifest = registry.pull(account, where, "present")
        assert blob.status == manifest.status
        return manifest.status
    made = registry.push(hosts.account("admin"), where, "to-delete", os.urandom(64))
    return registry.delete(account, where, made.headers["docker-content-digest"]).status


def test_the_server_denies_what_the_model_denies(
    name: str, registry: Registry, images: dict[str, Pushed]
) -> None:
    model = policy()
    rows, wrong = [], []
    for who in ACCOUNTS:
        account = hosts.account(who)
        user = None if who == "anonymous" else who
        for repository in REPOSITORIES:
            row = [who, f"`{repository}`"]
            for verb in VERBS:
                decision = model.decide(user, verb, repository)
                status = done(registry, account, verb, images[repository])
                if (status < 300) != decision.allowed or status not in (200, 201, 202, 401):
                    wrong.append((who, verb, repository, status, decision))
                rule = f"rule {decision.rule}" if decision.rule else "no rule"
                row.append(f"{'**may**' if status < 300 else 'denied'}, {status} ({rule})")
            rows.append(row)
        catalog = registry.catalog(account).status
        assert (catalog == 200) == (who == "admin"), (who, catalog)
        rows.append([who, "the catalog", f"{'**may**' if catalog == 200 else 'denied'}", "", ""])
    assert wrong == []
    denied = sum("denied" in cell for row in rows for cell in row)
    assert denied > 60
    requests = sum(bool(cell) for row in rows for cell in row[2:])
    # Written last, after all checks have passed.
    rules = RULES.read_text().partition("registry_access:")[2].rstrip()
    evidence.write(
        f"denied-{name}.md",
        f"Who may not do what, asked of the registry on {name}",
        "molecule verify --scenario-name hardening",
        f"{denied} of {requests} requests are denied, each as the model in"
        " `wharfinger/access` says, which shares no code with the token server. The rules, of"
        " which the first that matches decides; `someuser` is in the group `developers`:\n\n"
        f"```yaml\nregistry_access:{rules}\n```\n\n"
        + evidence.table(("who", "repository", *VERBS), rows),
    )
