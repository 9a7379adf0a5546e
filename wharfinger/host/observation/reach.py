"""`reachable`: whether image registries answer this host, tried as docker would, and whether an
ACME server does, tried as certbot would."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..keys.acme_errors import no_answer
from ..system.context import Host
from ..system.files import read_text
from ..system.paths import Paths
from ..system.processes import process_ids, program

# Seconds for one answer, and for all answers with their name look-ups.
_PATIENCE = 5.0
_ALTOGETHER = 15.0
# Bytes; real directories have about a thousand.
_LONGEST_DIRECTORY = 100_000
# The registry for which registry-mirrors in daemon.json stand.
HUB = "registry-1.docker.io"


def reachable(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """Request: {"registries": [HOST[:PORT]], "acme": {directory, ca (PEM or "")}}, both optional.
    Changes nothing.

    Returns registries: HOST[:PORT] → "" if it gives any answer, else why not; and acme: "" if the
    directory can be read, else why not and what to do.
    """
    answers: dict[str, str] = {}
    acme: dict[str, str] = request.get("acme") or {}
    docker = Docker.of(host.paths)

    def ask(name: str) -> None:
        answers[name] = docker.ask(name)

    def ask_acme(directory: str) -> None:
        answers[directory] = _acme(directory, str(acme.get("ca") or ""))

    names = [str(name) for name in request.get("registries") or ()]
    work: list[tuple[Callable[[str], None], str]] = [(ask, name) for name in names]
    work += [(ask_acme, acme["directory"])] if acme else []
    threads = [threading.Thread(target=do, args=(name,), daemon=True) for do, name in work]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _ALTOGETHER
    for thread in threads:
        # A name look-up has no time limit of its own.
        thread.join(max(0.0, deadline - time.monotonic()))
    late = f"no answer within {_ALTOGETHER:g} s"
    answer: dict[str, Any] = {"registries": {name: answers.get(name, late) for name in names}}
    if acme:
        too_late = no_answer("timed out", acme["directory"])
        answer["acme"] = answers.get(acme["directory"], too_late)
    return {"actions": [], **answer}


def _acme(directory: str, ca: str) -> str:
    """Why this directory (RFC 8555, 7.1.1) cannot be read, and what to do; "" if it can.

    ca: the authorities that certbot gets instead of the system's.
    """
    try:
        context = ssl.create_default_context(cadata=ca.encode("ascii", "ignore").decode() or None)
        # At most the time for all answers.
        with urllib.request.urlopen(directory, timeout=_ALTOGETHER, context=context) as answer:
            fine = "newNonce" in json.loads(answer.read(_LONGEST_DIRECTORY))
    except urllib.error.HTTPError as problem:
        problem.close()
        # certbot's words for an address of another server.
        own = "status" if problem.code >= 500 else "ClientError:"
        return no_answer(f"{own} {problem.code}", directory)
    except http.client.InvalidURL:
        # Its message quotes the proxy's address, which may contain a password.
        return no_answer("Cannot connect to proxy", directory)
    except (ValueError, TypeError):
        fine = False
    except (OSError, http.client.HTTPException) as problem:
        return no_answer(str(getattr(problem, "reason", problem)), directory)
    return "" if fine else no_answer("JSONDecodeError", directory)


class Docker:
    """How docker reaches registries: its daemon.json, and the environment of dockerd."""

    def __init__(self, settings: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        proxies = settings.get("proxies") or {}

        def proxy(name: str) -> str:
            given = proxies.get(f"{name}-proxy".replace("_", "-"))
            upper, lower = f"{name.upper()}_PROXY", f"{name}_proxy"
            return str(given or environment.get(upper) or environment.get(lower) or "")

        self._proxies = {"https": proxy("https"), "http": proxy("http")}
        self._without_proxy = proxy("no")
        self._mirrors = [str(mirror) for mirror in settings.get("registry-mirrors") or ()]
        self._insecure = [str(name) for name in settings.get("insecure-registries") or ()]

    @classmethod
    def of(cls, paths: Paths) -> Docker:
        """Docker with this host's daemon.json and dockerd's environment."""
        try:
            read = json.loads(read_text(paths.docker_settings) or "{}")
        except ValueError:
            read = {}  # preflight reports it
        return cls(read if isinstance(read, dict) else {}, environment(paths))

    def ask(self, name: str) -> str:
        """Why neither the registry nor (for Docker Hub) a mirror answers; "" if one does."""
        why = self._ask(f"https://{name}/v2/", name)
        if why and self._may_be_plain(name) and not self._ask(f"http://{name}/v2/", name):
            return ""
        if why and name == HUB:
            for mirror in self._mirrors:
                if not self._ask(f"{mirror.rstrip('/')}/v2/", mirror.partition("://")[2]):
                    return ""
        return why

    def _may_be_plain(self, name: str) -> bool:
        bare = name.partition(":")[0]
        # The registry may be in one of the subnets; another look-up would be needed to know.
        subnets = any("/" in name for name in self._insecure)
        local = bare == "localhost" or bare.startswith("127.")
        return local or subnets or name in self._insecure or bare in self._insecure

    def _ask(self, url: str, name: str) -> str:
        context = ssl.create_default_context()
        for authority in sorted(Path("/etc/docker/certs.d", name.rstrip("/")).glob("*.crt")):
            with contextlib.suppress(OSError):
                context.load_verify_locations(authority)
        handlers = [urllib.request.HTTPSHandler(context=context)]
        why = ""
        for proxies in self._ways(name):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), *handlers)
            try:
                opener.open(url, timeout=_PATIENCE).close()
            except urllib.error.HTTPError as answer:
                answer.close()
            except (OSError, http.client.HTTPException, ValueError) as problem:
                reason = getattr(problem, "reason", problem)
                if isinstance(reason, ssl.SSLCertVerificationError):
                    why = why or f"its certificate is refused: {reason.verify_message}"
                    continue
                if isinstance(reason, ssl.SSLError):
                    if "ALERT" in str(reason.reason):
                        return ""  # it may demand a client certificate, which docker has
                    why = why or f"its TLS is not understood ({reason.reason})"
                    continue
                words = getattr(reason, "strerror", None) or str(reason)
                if isinstance(reason, (http.client.InvalidURL, ValueError)):
                    # Its message quotes the address, which may contain the proxy's password.
                    words = "the address cannot be read"
                why = why or f"{words} (through the proxy)" if proxies else why or words
                continue
            return ""
        return why

    def _ways(self, name: str) -> list[dict[str, str]]:
        """The proxies to try in order; {} for a direct connection."""
        proxies = {scheme: url for scheme, url in self._proxies.items() if url}
        bare = name.partition(":")[0]
        # Python has this function on every system, but neither its docs nor typeshed know it.
        bypass = urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]
            bare, {"no": self._without_proxy}
        )
        if not proxies or bypass:
            return [{}]
        # Python does not understand subnets in NO_PROXY, docker does.
        return [proxies, {}] if "/" in self._without_proxy else [proxies]


def environment(paths: Paths) -> dict[str, str]:
    """The environment of dockerd; if it does not run, what its unit or init script will give it."""
    for pid in process_ids(paths.proc):
        if program(paths.proc, pid) == "dockerd":
            text = read_text(paths.proc / str(pid) / "environ") or ""
            return dict(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)
    # Both Debian's unit and its init script read this file.
    files = [paths.docker_defaults]
    variables: dict[str, str] = {}
    units = paths.docker_units
    for file in sorted(units.glob("*.conf")) if os.access(units, os.R_OK) else ():
        for key, value in _assigned(file):
            if key == "EnvironmentFile":
                files.append(Path(value.strip().removeprefix("-")))
            elif key == "Environment":
                variables |= _assignments(value)
    # In systemd, a file overrides a line of the unit.
    for file in files:
        for key, value in _assigned(file):
            variables |= _assignments(f"{key}={value}")
    return variables


def _assigned(file: Path) -> list[tuple[str, str]]:
    """The lines `NAME=…` and `export NAME=…` of a file."""
    line = r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=(.*)$"
    return re.findall(line, read_text(file) or "", re.MULTILINE)


def _assignments(text: str) -> dict[str, str]:
    """`A=b "C=d e"` → {"A": "b", "C": "d e"}."""
    with contextlib.suppress(ValueError):
        return dict(pair.split("=", 1) for pair in shlex.split(text) if "=" in pair)
    return {}
