"""The door: Ansible's arguments arrive, and each problem becomes the task's message."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bcrypt
import pytest
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

FILE = Path(__file__).resolve().parents[3] / "plugins/action/user_hashes.py"
NOBODY = {"groups": {}, "inventory_hostname": "a"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("user_hashes", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(ActionBase, "run", lambda *_: {"changed": False})

    def run(prepared: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        action = module.ActionModule.__new__(module.ActionModule)
        given = {"users": {}, "robots": [], "regenerate": "", "credentials": tmp_path / "c"}
        action._task = SimpleNamespace(args=given | arguments, check_mode=False)
        action._execute_module = lambda **_: prepared
        answer: dict[str, Any] = action.run(None, NOBODY)
        return answer

    return run


def test_each_account_gets_a_hash(run: Any, tmp_path: Path) -> None:
    prepared = {"users": {}, "verification_hash": "$2b$04$v", "verification_digest": "d"}
    answer = run(prepared, users={"ann": None}, robots={"ci": {}})
    assert answer["changed"] is True
    assert answer["generated"] == ["ann", "ci"]
    assert set(answer["hashes"]) == {"ann", "ci", "wharfinger-verification"}
    assert set(answer["digests"]) == {"ann", "ci", "wharfinger-verification"}
    secret = (tmp_path / "c/ann").read_text().strip()
    assert bcrypt.checkpw(secret.encode(), answer["hashes"]["ann"].encode())


def test_what_the_host_says_of_a_failure_is_the_answer(run: Any) -> None:
    assert run({"failed": True, "msg": "no"}) == {"changed": False, "failed": True, "msg": "no"}


def test_a_password_that_is_not_generated_cannot_be_generated_again(run: Any) -> None:
    with pytest.raises(AnsibleActionFail) as caught:
        run({}, users={"ann": {"password": "x"}, "ben": {}}, regenerate="ann", state="renewed")
    assert str(caught.value) == (
        "regenerate=ann: only a generated password can be regenerated, and registry_users has no "
        "user ann without password and password_hash. Write -e regenerate=NAME with one of: ben."
    )
