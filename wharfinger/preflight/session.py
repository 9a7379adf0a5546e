"""One run of preflight for one host: its requests, in their order, and what the roles get."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report

from . import acme, acme_server, check, images, own_name
from .controller import on_controller, unwritable_directory
from .deployment import deployment
from .host import ARCHITECTURES
from .observation import request
from .resolving import Resolved, usable_settings
from .specifications import PROJECT
from .variables import Spec

#: Keys of the answer that are dropped. A bcrypt hash is not a password, but -v would print it.
_NOT_KEPT = ("verification_hash", "invocation", "actions", "changed")


class HostFailed(Exception):
    """The host could not be examined; `answer` is that of the failed module."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(answer.get("msg"))
        self.answer = dict(answer)


@dataclass(frozen=True)
class Session:
    """What preflight needs from Ansible.

    ask: runs a command of the host program with a request, and returns its answer. read: returns
    the content of a file on the controller, decrypted if possible; raises OSError. base: the
    inventory's folder.
    """

    ask: Callable[[str, dict[str, Any]], dict[str, Any]]
    read: Callable[[Path], bytes]
    base: str

    def examine(
        self,
        scope: str,
        specs: Mapping[str, Mapping[str, Spec]],
        resolved: Resolved,
        extra: Iterable[str],
    ) -> tuple[Report, dict[str, Any]]:
        """The report, and if it has no errors, what the roles need to know.

        Raises HostFailed if the host cannot be examined.
        """
        settings = usable_settings(specs, resolved.variables)
        before = time.time()
        host = self._observed(settings)
        after = time.time()
        if not settings["registry_hostname"]:
            hosts_entry = settings["registry_hosts_entry"]
            settings["registry_hostname"] = own_name(str(host["fqdn"]), hosts_entry)
        archive: dict[str, Any] = {}
        archive_error = None
        if scope == "site":
            host |= self._reachable(settings, HostFacts.of(host))
            archive, archive_error = self._archive(settings, host.get("architecture"))
        controller = {
            "clock": [before, after],
            "base": self.base,
            "read": self._read,
            "archive_error": archive_error,
            "roots": None,
            "closed": unwritable_directory(Path(self.base)),
        }
        report = check(
            resolved.variables,
            specs,
            host,
            controller,
            scope=scope,
            playbook_vars=resolved.playbook_vars,
            extra=extra,
            unresolved=resolved.problems,
        )
        if report.errors:
            return report, {}
        facts = asdict(deployment(settings, HostFacts.of(host), self.base))
        return report, facts | {"host": host, "archive": archive}

    def _observed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.ask("observe", request(settings))
        if answer.get("failed"):
            raise HostFailed(answer)
        return {
            name: value
            for name, value in answer.items()
            if not name.startswith("_") and name not in _NOT_KEPT
        }

    def _reachable(self, settings: Mapping[str, Any], host: HostFacts) -> dict[str, Any]:
        """Whether the servers that this deployment needs answer the host; {} if it needs none.

        `registries`: image registry → "" if it answers the host, else why it does not. `acme`: the
        same for the ACME server.
        """
        pulled = images.pulled(settings, host.state)
        wanted: dict[str, Any] = {"registries": images.registries(pulled.values())}
        if acme_server.must_be_asked(settings, host):
            named, ca = settings[acme.SERVER_CA], ""
            # A file that cannot be read is reported elsewhere; its authorities are unknown here.
            with contextlib.suppress(OSError, UnicodeDecodeError):
                ca = self._read(named).decode() if named else ""
                wanted["acme"] = {"directory": settings[acme.DIRECTORY], "ca": ca}
        if not any(wanted.values()):
            return {"registries": {}}
        answer = self.ask("reachable", wanted)
        return {name: answer[name] for name in ("registries", "acme") if name in answer}

    def _read(self, path: str) -> bytes:
        return self.read(on_controller(path, {"base": self.base}))

    def _archive(
        self, settings: Mapping[str, Any], architecture: str | None
    ) -> tuple[dict[str, Any], str | None]:
        """The contents of images_archive after its digests were checked, or what is wrong with it.

        architecture: the host's, checked if bundles exist for it.
        """
        named = settings["images_archive"]
        if settings["images_source"] != "archive" or not named:
            return {}, None
        path = on_controller(named, {"base": self.base})
        wanted = ["--architecture", architecture] if architecture in ARCHITECTURES else []
        opened = subprocess.run(
            [sys.executable, PROJECT / "images/build.py", "open", path, *wanted],
            capture_output=True,
            text=True,
            check=False,
        )
        if opened.returncode:
            return {}, opened.stderr.strip()
        return json.loads(opened.stdout), None
