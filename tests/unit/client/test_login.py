"""Where logins come from, and where `wharf login` keeps them."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from tests.unit.client.conftest import Wharf
from tests.unit.client.registry import HOST, Fake, image

HELPER = """#!/bin/sh
echo "$1" >>"$HELPER_LOG"
input=$(cat)
case $1 in
  get) if [ -e "$HELPER_STORE" ] && grep -q "\\"$input\\"" "$HELPER_STORE"; then cat "$HELPER_STORE"
       else echo "credentials not found in native keychain"; exit 1; fi ;;
  store) printf '%s' "$input" >"$HELPER_STORE" ;;
  *) exit 1 ;;
esac
"""


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def config(home: Path) -> Path:
    """docker's config.json, which does not exist yet."""
    (home / ".docker").mkdir()
    return home / ".docker/config.json"


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper named `test`, and the file in which it keeps its login."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("HELPER_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("HELPER_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def app(fake: Fake) -> str:
    fake.auth = "bearer"
    fake.push("app", "1", image())
    return f"{HOST}/app"


# Where logins come from


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v2/"])
def test_dockers_login_is_used(app: str, wharf: Wharf, config: Path, key: str) -> None:
    config.write_text(json.dumps({"auths": {key: {"auth": encoded("bob", "pw")}}}))
    assert wharf("tags", app).out == "1\n"


def test_docker_config_says_where_it_is(
    app: str, wharf: Wharf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {HOST: {"auth": encoded("bob", "pw")}}})
    )
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert wharf("tags", app).out == "1\n"


def test_another_registrys_login_is_never_used(app: str, wharf: Wharf, config: Path) -> None:
    config.write_text(json.dumps({"auths": {"other.test": {"auth": encoded("bob", "pw")}}}))
    ran = wharf("tags", app)
    assert (ran.code, "wants a login" in ran.err) == (3, True)


@pytest.mark.parametrize("where", [{"credsStore": "test"}, {"credHelpers": {HOST: "test"}}])
def test_a_credential_helper_is_asked(
    app: str, wharf: Wharf, config: Path, helper: Path, where: dict[str, object]
) -> None:
    config.write_text(json.dumps(where))
    helper.write_text(json.dumps({"ServerURL": HOST, "Username": "bob", "Secret": "pw"}))
    assert wharf("tags", app).out == "1\n"


def test_a_helper_without_the_login_is_not_an_error(
    app: str, wharf: Wharf, config: Path, helper: Path
) -> None:
    config.write_text(json.dumps({"credsStore": "test"}))
    assert "wants a login" in wharf("tags", app).err


def test_a_helper_that_is_not_there_is_named(app: str, wharf: Wharf, config: Path) -> None:
    config.write_text(json.dumps({"credsStore": "nothing"}))
    ran = wharf("tags", app)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(
        f"wharf: {config}: the credential helper that is named there failed ("
    )
    assert "docker-credential-nothing not installed or not available in PATH" in ran.err
    assert ran.err.endswith(
        "): install or unlock it, or remove its name (credsStore, credHelpers)\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "{",
            "is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 "
            "(char 1)): repair it, docker needs it too",
        ),
        ("[]", "is not a JSON object: repair it, docker needs it too"),
    ],
)
def test_a_broken_config_is_reported_and_not_overwritten(
    app: str, wharf: Wharf, config: Path, content: str, message: str
) -> None:
    config.write_text(content)
    for command in (("tags", app), ("login", HOST, "--user", "bob", "--password-stdin")):
        ran = wharf(*command, input="pw\n")
        assert (ran.code, ran.err) == (1, f"wharf: {config} {message}\n")
    assert config.read_text() == content


@pytest.mark.parametrize("auth", ["no base64!", base64.b64encode(b"nocolon").decode(), 7])
def test_a_stored_login_that_cannot_be_read(
    app: str, wharf: Wharf, config: Path, auth: object
) -> None:
    config.write_text(json.dumps({"auths": {HOST: {"auth": auth}}}))
    ran = wharf("tags", app)
    assert (ran.code, ran.err) == (
        1,
        f"wharf: {config}: the login stored there cannot be read: log in again (wharf login "
        f"{HOST})\n",
    )


def test_auths_of_another_form_are_refused(app: str, wharf: Wharf, config: Path) -> None:
    config.write_text(json.dumps({"auths": {HOST: "text"}}))
    assert wharf("tags", app).err == f"wharf: {config}: 'auths' is not as docker writes it\n"
    config.write_text(json.dumps({"auths": []}))
    ran = wharf("login", HOST, "--user", "bob", "--password-stdin", input="pw")
    assert ran.err == f"wharf: {config}: 'auths' is not as docker writes it\n"


# wharf login


@pytest.mark.parametrize("option", ["--user", "-u"])
def test_a_login_is_kept_as_docker_keeps_it(
    app: str, wharf: Wharf, config: Path, option: str
) -> None:
    others = {"auths": {"other.test": {"auth": encoded("x", "y")}}, "psFormat": "table"}
    config.write_text(json.dumps(others))
    ran = wharf("login", HOST, option, "bob", "--password-stdin", input="pw\n")
    assert (ran.code, ran.out) == (
        0,
        f"bob is logged in at {HOST}; the password is in {config}, unencrypted (base64), as docker "
        "keeps it without a credential helper\n",
    )
    stored = json.loads(config.read_text())
    assert stored["auths"].pop(HOST) == {"auth": encoded("bob", "pw")}
    assert stored == others
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert [file.name for file in config.parent.iterdir()] == ["config.json"]
    assert wharf("tags", app).out == "1\n"


def test_the_folder_is_made_for_its_owner_alone(app: str, wharf: Wharf, home: Path) -> None:
    assert wharf("login", HOST, "--user", "bob", "--password-stdin", input="pw").code == 0
    assert stat.S_IMODE((home / ".docker").stat().st_mode) == 0o700


def test_a_config_that_is_a_link_stays_one(
    app: str, wharf: Wharf, config: Path, tmp_path: Path
) -> None:
    config.symlink_to(tmp_path / "real.json")
    (tmp_path / "real.json").write_text("{}")
    wharf("login", HOST, "--user", "bob", "--password-stdin", input="pw")
    assert config.is_symlink()
    assert HOST in (tmp_path / "real.json").read_text()


def test_a_login_goes_to_the_helper_if_there_is_one(
    app: str, wharf: Wharf, config: Path, helper: Path
) -> None:
    old = {"auths": {HOST: {"auth": encoded("bob", "old")}}, "credsStore": "test"}
    config.write_text(json.dumps(old))
    ran = wharf("login", HOST, "--user", "bob", "--password-stdin", input="pw")
    assert ran.out == (
        f"bob is logged in at {HOST}; the password is in the credential helper "
        "docker-credential-test\n"
    )
    assert json.loads(helper.read_text()) == {
        "ServerURL": HOST,
        "Username": "bob",
        "Secret": "pw",
    }
    assert json.loads(config.read_text())["auths"] == {HOST: {}}


def test_docker_hub_has_a_key_of_its_own(fake: Fake, wharf: Wharf, config: Path) -> None:
    fake.before = [lambda request: __import__("httpx").Response(200, json={})]
    assert wharf("login", "docker.io", "--user", "bob", "--password-stdin", input="pw").code == 0
    assert list(json.loads(config.read_text())["auths"]) == ["https://index.docker.io/v1/"]
    assert fake.requests[0].url.host == "registry-1.docker.io"


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_a_login_that_is_refused_is_not_kept(
    fake: Fake, wharf: Wharf, config: Path, auth: str
) -> None:
    fake.auth = auth
    ran = wharf("login", HOST, "--user", "bob", "--password-stdin", input="wrong")
    assert ran.code == 3
    assert "does not accept the login of bob" in ran.err
    assert not config.exists()


def test_a_login_is_tried_where_reading_is_free_for_all(
    fake: Fake, wharf: Wharf, config: Path
) -> None:
    import httpx

    fake.before = [
        lambda request: httpx.Response(401) if "authorization" in request.headers else None
    ]
    ran = wharf("login", HOST, "--user", "bob", "--password-stdin", input="wrong")
    assert (ran.code, config.exists()) == (3, False)


def test_name_and_password_are_asked_for_at_a_terminal(
    app: str, wharf: Wharf, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: "pw")
    ran = wharf("login", HOST, input="bob\n", terminal=True)
    assert (ran.code, ran.err) == (0, "User: ")
    assert HOST in json.loads(config.read_text())["auths"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (),
            "there is no terminal to ask for the name: say --user NAME --password-stdin",
        ),
        (
            ("--user", "bob"),
            "there is no terminal to ask for the password: give it on standard input, with "
            "--password-stdin",
        ),
        (
            ("--user", "a:b", "--password-stdin"),
            "a user's name has at least one letter and no colon",
        ),
    ],
)
def test_what_is_missing_for_a_login(
    fake: Fake, wharf: Wharf, arguments: tuple[str, ...], message: str
) -> None:
    ran = wharf("login", HOST, *arguments)
    assert (ran.code, ran.err) == (2, f"wharf: {message}\n")


def test_a_password_is_never_shown(app: str, wharf: Wharf, config: Path) -> None:
    from wharfinger.client.credentials import Credentials

    assert "secret" not in repr(Credentials("bob", "secret", "secret"))
