"""The state of an engine that does not answer: what is on the host → the row of the table."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.unit.host.world import FakeRunner, Machine, host_of
from wharfinger.host.observation import engine_facts, engine_settings
from wharfinger.host.observation.engine_state import (
    ABSENT,
    CLIENT_ONLY,
    ELSEWHERE,
    MASKED,
    MISCONFIGURED,
    PARTS,
    PODMAN,
    RUNNING,
    SILENT,
    STOPPED,
    EngineState,
)
from wharfinger.host.system.context import Host
from wharfinger.host.system.runner import Result

CLIENT = "/usr/local/bin/docker"
# As systemd 252 and 257 print them, for docker.service, docker.socket and containerd.service.
SERVICE = (
    "ExecStart={ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd -H fd:// "
    "--containerd=/run/containerd/containerd.sock $DOCKER_OPTS ; ignore_errors=no ; "
    "start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }\n"
    "LoadState=loaded\nUnitFileState=enabled\n"
)
SOCKET = "Listen=/run/docker.sock (Stream)\nLoadState=loaded\nUnitFileState=enabled\n"
CONTAINERD = "LoadState=loaded\nUnitFileState=enabled\n"
MISSING = "LoadState=not-found\nUnitFileState=\n"
HIDDEN = "LoadState=masked\nUnitFileState=masked\n"


@pytest.fixture
def host(tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with systemd, Debian's units and dockerd, which does not run."""
    monkeypatch.setattr(engine_facts, "_process", lambda _proc: None)
    host = host_of(tmp_path, machine)
    host.paths.systemd.mkdir()
    host.paths.docker_settings.parent.mkdir()
    runner(host).programs["dockerd"] = "/usr/sbin/dockerd"
    shows(host, SERVICE, SOCKET, CONTAINERD)
    return host


def runner(host: Host) -> FakeRunner:
    assert isinstance(host.runner, FakeRunner)
    return host.runner


def shows(host: Host, *units: str) -> None:
    runner(host).answers["systemctl show"] = Result(0, "\n".join(units), "")


def settings(host: Host, text: str) -> Path:
    host.paths.docker_settings.write_text(text)
    return host.paths.docker_settings


def test_an_engine_whose_service_is_stopped(host: Host) -> None:
    assert engine_facts.unanswered(host, CLIENT) == (STOPPED, None)


def test_a_client_is_not_an_engine(host: Host) -> None:
    runner(host).programs.clear()
    shows(host, MISSING, MISSING, MISSING)
    assert engine_facts.unanswered(host, CLIENT) == (CLIENT_ONLY, None)
    assert engine_facts.unanswered(host, None) == (ABSENT, None)
    host.paths.systemd.rmdir()
    assert engine_facts.unanswered(host, CLIENT) == (CLIENT_ONLY, None)


def test_a_dockerd_that_no_service_starts_is_none_either(host: Host) -> None:
    shows(host, MISSING, MISSING, CONTAINERD)
    assert engine_facts.unanswered(host, CLIENT) == (CLIENT_ONLY, None)
    # Without systemd the host program starts it.
    host.paths.systemd.rmdir()
    assert engine_facts.unanswered(host, CLIENT) == (STOPPED, None)


@pytest.mark.parametrize(
    ("units", "masked"),
    [
        ((HIDDEN, SOCKET, CONTAINERD), "docker.service"),
        ((SERVICE, HIDDEN, CONTAINERD), "docker.socket"),
        ((HIDDEN, HIDDEN, CONTAINERD), "docker.service docker.socket"),
        ((SERVICE, SOCKET, HIDDEN), "containerd.service"),
    ],
)
def test_units_that_are_masked(host: Host, units: tuple[str, ...], masked: str) -> None:
    shows(host, *units)
    assert engine_facts.unanswered(host, CLIENT) == (MASKED, masked)
    # An engine that is installed later would not start either.
    runner(host).programs.clear()
    assert engine_facts.unanswered(host, None) == (MASKED, masked)


def test_a_socket_unit_that_nothing_needs_may_be_masked(host: Host) -> None:
    # A unit of the operator's own, as systemd 257 prints it.
    own = SERVICE.replace("-H fd://", "-H unix:///var/run/docker.sock")
    shows(host, own + "Requires=system.slice sysinit.target\n", HIDDEN, CONTAINERD)
    assert engine_facts.unanswered(host, CLIENT) == (STOPPED, None)
    # A drop-in only changes the flags: what the package's unit requires stays required.
    shows(host, own + "Requires=system.slice sysinit.target docker.socket\n", HIDDEN, CONTAINERD)
    assert engine_facts.unanswered(host, CLIENT) == (MASKED, "docker.socket")


def test_a_containerd_that_dockerd_does_not_ask_for_may_be_masked(host: Host) -> None:
    shows(
        host, SERVICE.replace("--containerd=/run/containerd/containerd.sock ", ""), SOCKET, HIDDEN
    )
    assert engine_facts.unanswered(host, CLIENT) == (STOPPED, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{\n "debug": true,\n "log-level": \n}\n',
            "{file}, line 4, is not JSON (Expecting value): correct it",
        ),
        ("[]", "{file} is not a JSON object: write its settings between {{ and }}"),
        (
            '{"hosts": ["tcp://127.0.0.1:2375"]}',
            "hosts is in {file} and also given to dockerd as -H, by its service or by DOCKER_OPTS "
            "in {defaults}: remove it from one of them",
        ),
        (
            '{"log-level": "warn"}',
            "log-level is in {file} and also given to dockerd as --log-level, by its service or by "
            "DOCKER_OPTS in {defaults}: remove it from one of them",
        ),
    ],
)
def test_settings_with_which_dockerd_does_not_start(host: Host, text: str, message: str) -> None:
    host.paths.docker_defaults.write_text(
        '# DOCKER_OPTS="--dns 8.8.8.8"\nDOCKER_OPTS="--log-level=info --insecure-registry a"\n'
    )
    file = settings(host, text)
    message = message.format(file=file, defaults=host.paths.docker_defaults)
    assert engine_facts.unanswered(host, CLIENT) == (MISCONFIGURED, message)
    runner(host).programs.clear()
    shows(host, MISSING, MISSING, MISSING)
    # Debian's unit, which comes with the engine, has the same flag.
    assert engine_facts.unanswered(host, None) == (MISCONFIGURED, message)


def test_what_dockerd_itself_says_of_its_settings(host: Host) -> None:
    file = settings(host, '{"debgu": true}')
    runner(host).answers["/usr/sbin/dockerd --validate"] = Result(
        1,
        "",
        f"unable to configure the Docker daemon with file {file}: the following directives don't "
        "match any configuration option: debgu",
    )
    assert engine_facts.unanswered(host, CLIENT) == (
        MISCONFIGURED,
        f"dockerd refuses {file} (the following directives don't match any configuration option: "
        "debgu): correct it",
    )
    # Docker 20.10 cannot validate its settings.
    runner(host).answers["/usr/sbin/dockerd --validate"] = Result(
        125, "", "unknown flag: --validate"
    )
    assert engine_facts.unanswered(host, CLIENT) == (STOPPED, None)


@pytest.mark.parametrize("installed", [True, False])
def test_settings_of_a_containerd_with_which_it_does_not_start(host: Host, installed: bool) -> None:
    # The messages of containerd 1.6.20 (Debian 12) and 1.7.24 (Debian 13).
    runner(host).answers["containerd config dump"] = Result(
        1,
        "",
        "containerd: failed to load TOML: /etc/containerd/config.toml: (3, 11): cannot have "
        "multiple equals for the same key",
    )
    if not installed:
        # Only containerd is installed, and no engine yet.
        runner(host).programs.clear()
        shows(host, MISSING, MISSING, CONTAINERD)
    runner(host).programs["containerd"] = "/usr/bin/containerd"
    assert engine_facts.unanswered(host, None) == (
        MISCONFIGURED,
        "containerd, which it needs, cannot read /etc/containerd/config.toml, line 3: correct it "
        "(`containerd config dump` says what is wrong)",
    )


def test_containerd_alone_is_not_an_engine(host: Host) -> None:
    runner(host).programs.clear()
    runner(host).programs["containerd"] = "/usr/bin/containerd"
    shows(host, MISSING, MISSING, CONTAINERD)
    assert engine_facts.unanswered(host, None) == (ABSENT, None)


def test_dockers_command_is_podmans(host: Host, tmp_path: Path) -> None:
    # /usr/bin/docker of podman-docker 5.4.2 (Debian 13).
    command = tmp_path / "podmans"
    command.write_text(
        "#!/bin/sh\n[ -e /etc/containers/nodocker ] || echo Emulate >&2\n"
        'exec /usr/bin/podman "$@"\n'
    )
    runner(host).programs["docker"] = str(command)
    engine = engine_facts.look(host, {})["engine"]
    assert (engine["state"], engine["detail"]) == (
        "podman",
        f"the docker command ({command}) is podman's, which is not Docker Engine: remove "
        "podman-docker, or that file where no package has it",
    )


def test_podmans_socket_under_dockers_name(host: Host, tmp_path: Path) -> None:
    # As after the removal of podman-docker while podman.socket was active.
    podmans, dockers = tmp_path / "podman.sock", host.paths.docker_socket
    dockers.parent.mkdir(parents=True, exist_ok=True)
    dockers.symlink_to(podmans)
    shows(host, MISSING, MISSING, MISSING)
    runner(host).programs.clear()
    assert engine_facts.look(host, {})["engine"]["state"] == "absent"
    with socketserver.UnixStreamServer(str(podmans), socketserver.BaseRequestHandler):
        engine = engine_facts.look(host, {})["engine"]
    assert (engine["state"], engine["detail"]) == (
        "podman",
        f"podman answers at {dockers}, where Docker Engine is needed: stop that "
        f"(`rm {dockers}` where it is a link)",
    )
    # systemd leaves the socket's file, but nothing listens there any more.
    assert engine_facts.look(host, {})["engine"]["state"] == "absent"


@pytest.mark.parametrize("text", ["", "{}", '{"runtimes": {}, "live-restore": true}'])
def test_settings_with_which_dockerd_starts(host: Host, text: str) -> None:
    settings(host, text)
    assert engine_facts.unanswered(host, CLIENT) == (STOPPED, None)


def test_flags_are_read_as_dockerd_reads_them() -> None:
    options = ["-H", "fd://", "-Hunix:///a", "--host=tcp://b", "--config-file", "/c"]
    assert engine_settings.value_of(options, "H", "host") == ["fd://", "unix:///a", "tcp://b"]
    assert engine_settings.value_of(options, "config-file") == ["/c"]


@pytest.fixture
def running(host: Host, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Sets command line and age of the host's dockerd."""
    process: dict[str, object] = {"words": ["/usr/sbin/dockerd", "-H", "fd://"], "age": 90.0}
    monkeypatch.setattr(engine_facts, "_process", lambda _proc: 812)
    monkeypatch.setattr(engine_facts.processes, "words", lambda _proc, _pid: process["words"])
    monkeypatch.setattr(engine_facts.processes, "age", lambda _proc, _pid: process["age"])
    return process


def test_an_engine_that_listens_elsewhere_by_daemon_json(
    host: Host, running: dict[str, object]
) -> None:
    running["words"] = ["/usr/sbin/dockerd"]
    file = settings(host, '{"hosts": ["tcp://127.0.0.1:2375"]}')
    socket = host.paths.docker_socket
    assert engine_facts.unanswered(host, CLIENT) == (
        ELSEWHERE,
        f"Docker runs (process 812), but not at {socket}, where it is needed: it listens at "
        f'tcp://127.0.0.1:2375, by {file}: add "unix://{socket}" to hosts there, and run '
        "`systemctl restart docker`",
    )


def test_an_engine_that_listens_elsewhere_by_its_flags(
    host: Host, running: dict[str, object]
) -> None:
    running["words"] = ["/usr/sbin/dockerd", "-H", "unix:///srv/docker.sock"]
    socket = host.paths.docker_socket
    text = (
        f"Docker runs (process 812), but not at {socket}, where it is needed: it listens at "
        f"unix:///srv/docker.sock, by its flag -H: add -H unix://{socket}, and run "
    )
    assert engine_facts.unanswered(host, None) == (ELSEWHERE, f"{text}`systemctl restart docker`")
    host.paths.systemd.rmdir()
    assert engine_facts.unanswered(host, None) == (ELSEWHERE, f"{text}`service docker restart`")


def test_an_engine_that_listens_elsewhere_by_its_socket_unit(
    host: Host, running: dict[str, object]
) -> None:
    shows(host, SERVICE, SOCKET.replace("/run/docker.sock", "/srv/docker.sock"), CONTAINERD)
    assert engine_facts.unanswered(host, None) == (
        ELSEWHERE,
        f"Docker runs (process 812), but not at {host.paths.docker_socket}, where it is needed: it "
        "listens at /srv/docker.sock (Stream), by `systemctl cat docker.socket`: write "
        "ListenStream=/run/docker.sock there, and run `systemctl restart docker`",
    )


def test_an_engine_that_has_run_for_long_and_says_nothing(
    host: Host, running: dict[str, object]
) -> None:
    assert engine_facts.unanswered(host, CLIENT) == (SILENT, "process 812")
    # A dockerd that was just started may need time.
    running["age"] = 5.0
    assert engine_facts.unanswered(host, CLIENT) == (STOPPED, None)


@pytest.mark.parametrize(("process", "state"), [(812, RUNNING), (None, STOPPED)])
def test_an_engine_that_is_slow_is_asked_once_more(
    host: Host, monkeypatch: pytest.MonkeyPatch, process: int | None, state: EngineState
) -> None:
    answered: list[str] = []
    over = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return ""

        def do_GET(self) -> None:
            first = not answered
            answered.append(self.path)
            if first:
                over.wait(600)
            body = b'{"DockerRootDir": "/"}' if self.path.endswith("/info") else b"[]"
            with contextlib.suppress(BrokenPipeError):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

    monkeypatch.setattr(engine_facts, "_process", lambda _proc: process)
    monkeypatch.setattr(engine_facts, "_PATIENCE", 0.3)
    host.paths.docker_socket.parent.mkdir(parents=True, exist_ok=True)
    with socketserver.ThreadingUnixStreamServer(str(host.paths.docker_socket), Slow) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        # Also after a failure: the server waits for the thread that answers late.
        try:
            facts = engine_facts.look(host, {})
        finally:
            over.set()
            server.shutdown()
    assert facts["engine"]["state"] == state.name


def test_parts_of_another_docker_that_ours_would_replace(host: Host) -> None:
    runner(host).programs.clear()
    runner(host).answers["apt-get --simulate install --no-install-recommends docker.io"] = Result(
        0, "Remv containerd.io [1.7]\nInst containerd (1.6 Debian)\nInst docker.io (20.10)\n", ""
    )
    shows(host, MISSING, MISSING, CONTAINERD)
    assert engine_facts.unanswered(host, CLIENT) == (PARTS, "containerd.io")


@pytest.mark.parametrize(
    ("package", "state", "detail"),
    [
        ("containerd.io", PARTS, "containerd.io"),
        (
            "podman-docker",
            PODMAN,
            "podman-docker is there, and docker.io would replace it: remove it",
        ),
    ],
)
def test_they_are_known_before_apt_has_its_lists(
    host: Host, package: str, state: EngineState, detail: str
) -> None:
    runner(host).programs.clear()
    runner(host).programs["dpkg-query"] = "/usr/bin/dpkg-query"
    runner(host).answers["dpkg-query -W"] = Result(1, f"{package} installed\n", "no packages found")
    shows(host, MISSING, MISSING, MISSING)
    # Another docker command comes before podman-docker's.
    assert engine_facts.unanswered(host, CLIENT) == (state, detail)


def test_an_engine_that_runs_and_would_not_start_again(host: Host) -> None:
    assert engine_facts._Service(host).warning() is None
    file = settings(host, "{,}")
    assert engine_facts._Service(host).warning() == (
        f"{file}, line 1, is not JSON (Expecting property name enclosed in double quotes): "
        "correct it"
    )
    shows(host, HIDDEN, HIDDEN, CONTAINERD)
    assert engine_facts._Service(host).warning() == (
        "it is masked in systemd: run `systemctl unmask docker.service docker.socket`"
    )
