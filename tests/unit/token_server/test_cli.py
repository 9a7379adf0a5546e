"""`serve`, `check`, `explain` and `healthcheck`: their output and exit codes."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.token_server import Running, make_key, replace, settings
from wharfinger.token_server.cli import main


@pytest.fixture
def file(tmp_path: Path, keys: Path) -> Path:
    path = tmp_path / "auth_config.yml"
    path.write_text(yaml.safe_dump(settings(keys)))
    return path


def test_check_says_that_a_file_is_valid(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: valid: 4 users, 4 acl entries\n"


def test_check_says_every_mistake_and_ends_with_1(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("server: {addr: x}\ntoken: {}\nusers: {}\nacl: []\n")
    assert main(["check", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"{file}:1: server.addr: 'x' is not an address to listen on: write :5001 or 127.0.0.1:5001",
        f"{file}:2: token.issuer: is missing",
        f"{file}:2: token.expiration: is missing",
        f"{file}:2: token.certificate: is missing",
        f"{file}:2: token.key: is missing",
    ]


def test_check_refuses_an_expired_certificate(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_key(tmp_path, days=-1)
    file.write_text(yaml.safe_dump(settings(tmp_path)))
    assert main(["check", str(file)]) == 1
    assert re.search(r"signing.crt expired on \d{4}-\d\d-\d\d: renew it", capsys.readouterr().err)


def test_check_can_leave_the_keys_out(file: Path, tmp_path: Path) -> None:
    file.write_text(yaml.safe_dump(settings(tmp_path / "nowhere")))
    assert main(["check", str(file)]) == 1
    assert main(["check", "--no-keys", str(file)]) == 0


@pytest.mark.parametrize("command", ["check", "serve", "healthcheck"])
def test_a_file_that_is_not_there_ends_with_1(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(tmp_path / "none.yml")]) == 1
    assert capsys.readouterr().err == (
        f"{tmp_path}/none.yml:1: cannot be read: No such file or directory\n"
    )


def test_explain_says_what_is_granted_and_why(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scopes = ["repository:someuser/a:pull,push,list", "repository:other/a:pull"]
    assert main(["explain", str(file), "someuser", *scopes]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "repository:someuser/a: pull,push (acl[2] rule 3)",
        "repository:other/a: nothing (no acl entry matches)",
    ]
    assert main(["explain", str(file), "", "repository:public/a:pull,push"]) == 0
    assert capsys.readouterr().out == "repository:public/a: pull (acl[3] rule 4)\n"


def test_explain_without_a_login_and_without_a_rule_for_anonymous_clients(
    file: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = settings(keys)
    del content["users"][""]
    file.write_text(yaml.safe_dump(content))
    assert main(["explain", str(file), "", "repository:public/a:pull", "registry:catalog:*"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "repository:public/a: nothing (no rule applies to anonymous clients: 401, log in)",
        "registry:catalog: nothing (no rule applies to anonymous clients: 401, log in)",
    ]


def test_explain_says_why_a_user_may_not_log_in(
    file: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = settings(keys)
    content["users"]["someuser"]["addresses"] = ["10.0.0.0/8"]
    file.write_text(yaml.safe_dump(content))
    command = ["explain", str(file), "someuser", "repository:someuser/a:pull"]
    assert main(command) == 0
    assert capsys.readouterr().out == (
        "repository:someuser/a: nothing (someuser may not log in from 127.0.0.1: 401)\n"
    )
    assert main([*command, "--ip", "10.1.2.3"]) == 0
    assert capsys.readouterr().out == "repository:someuser/a: pull (acl[2] rule 3)\n"
    content["users"]["someuser"]["expires"] = "2026-01-01T00:00:00Z"
    file.write_text(yaml.safe_dump(content))
    assert main([*command, "--ip", "10.1.2.3"]) == 0
    assert capsys.readouterr().out == (
        "repository:someuser/a: nothing (someuser expired at 2026-01-01T00:00:00Z: 401)\n"
    )


def test_explain_of_an_unknown_user_ends_with_1(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", str(file), "nobody", "repository:a:pull"]) == 1
    assert capsys.readouterr().err == f"{file}: users: there is no 'nobody'\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "FILE", "u", "nonsense"], "there is no 'u'"),
        (["explain", "FILE", "someuser", "nonsense"], "invalid scope 'nonsense'"),
        (
            ["explain", "FILE", "someuser", "repository:a:pull", "--ip", "x"],
            "--ip: 'x' is not an address",
        ),
    ],
)
def test_explain_says_what_it_did_not_understand(
    file: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main([str(file) if word == "FILE" else word for word in arguments])
    assert status == (1 if "u" in arguments else 2)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["start"], ["serve"], ["serve", "f", "--port", "x"]])
def test_a_command_that_is_not_understood_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_healthcheck_asks_the_server_of_the_file(
    server: Running, file: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = settings(keys)
    content["server"]["addr"] = f":{server.port}"
    replace(file, yaml.safe_dump(content))
    assert main(["healthcheck", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "ok"


def test_healthcheck_ends_with_1_if_nobody_answers(
    file: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    content = settings(keys)
    content["server"]["addr"] = f":{port}"
    replace(file, yaml.safe_dump(content))
    assert main(["healthcheck", str(file)]) == 1
    assert capsys.readouterr().err.startswith(f"127.0.0.1:{port} does not answer: ")


def test_a_health_check_does_not_import_what_serves_requests() -> None:
    program = (
        "import sys, wharfinger.token_server.cli;"
        "print([name for name in ('asyncio', 'bcrypt', 'starlette', 'uvicorn') "
        "if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], text=True, capture_output=True, check=True
    )
    assert answer.stdout == "[]\n"


def test_serve_with_an_invalid_file_ends_with_1_and_says_why(file: Path) -> None:
    file.write_text("server: {}")
    answer = subprocess.run(
        [sys.executable, "-m", "wharfinger.token_server", "serve", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 1
    assert f"{file}:1: server.addr: is missing\n" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_serve_on_an_address_in_use_says_so(server: Running, file: Path) -> None:
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "wharfinger.token_server",
            "serve",
            str(file),
            "--port",
            str(server.port),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 1
    assert (
        answer.stderr == f"{file}: server.addr: 127.0.0.1:{server.port}: Address already in use\n"
    )
