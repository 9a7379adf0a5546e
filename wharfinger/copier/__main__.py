"""The copier's process: a request as JSON on standard input, the answer as JSON on standard output.

    {"task": "look", "here" or "copy",
     "registry": {"name": HOST[:PORT], "address": IP, "user", "password", "ca": PEM or ""},
     "mirrors": [{"from", "to", "upstream", "source", "tags", "platforms", "username", "password",
                  "token_host", "ca", "plain_http", "lines": {TAG: DIGEST}}],
     "left_alone": {UPSTREAM: seconds since 1970 until which it is not asked},
     "patience": seconds for the next bytes of an upstream's answer}

Answers {"mirrors": [one object for each, in order], "requests": {HOST: number},
"left_alone": {UPSTREAM: seconds since 1970}}. Logins come by standard input, since everybody on the
host sees arguments. A failure of a mirror is a text in its object; the exit code is then 0, too.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wharfinger.client.api import Registry
from wharfinger.client.credentials import Credentials
from wharfinger.client.errors import ClientError, Denied, ElsewhereForTokens
from wharfinger.client.references import DOCKER_HUB
from wharfinger.client.transport import Settings, Transport

from .upstream import PATIENCE, Manners, Upstream, not_before
from .work import Copied, Mirror, copy, here, look

# The token servers of upstreams that have them on another host.
_TOKEN_HOSTS = {DOCKER_HUB: "auth.docker.io"}
_REQUESTS = 8


async def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """What the process answers."""
    with tempfile.TemporaryDirectory(prefix="wharfinger-copier-") as folder:
        work = _Run(request, Path(folder))
        own = request.get("registry")
        if own is None:
            return await work.all(None)
        _lead_to(str(own["name"]).partition(":")[0], str(own["address"]))
        settings = Settings(
            credentials=Credentials(own["user"], own["password"]),
            cacert=work.file(own.get("ca")),
            max_requests=_REQUESTS,
        )
        async with Transport(str(own["name"]), settings) as transport:
            return await work.all(Registry(transport))


class _Run:
    """One request. `folder` gets the authorities' certificates, which TLS reads from files."""

    def __init__(self, request: Mapping[str, Any], folder: Path) -> None:
        self._request, self._folder = request, folder
        self._manners: dict[str, Manners] = {}

    def file(self, certificates: object) -> Path | None:
        """A file with these certificates in PEM form; None without any."""
        if not certificates:
            return None
        path = self._folder / f"{len(list(self._folder.iterdir()))}.crt"
        path.write_text(str(certificates), encoding="utf-8")
        return path

    async def all(self, own: Registry | None) -> dict[str, Any]:
        """The whole answer."""
        answers = [await self._mirror(raw, own) for raw in self._request["mirrors"]]
        requests: Counter[str] = Counter()
        for manners in self._manners.values():
            requests.update(manners.requests)
        left = {name: one.ended.until for name, one in self._manners.items() if one.ended}
        return {"mirrors": answers, "requests": dict(requests), "left_alone": left}

    async def _mirror(self, raw: Mapping[str, Any], own: Registry | None) -> dict[str, Any]:
        mirror, copied = Mirror.of(raw), Copied()
        answer: dict[str, Any] = {"to": mirror.to, "from": raw["from"], "problem": None}
        try:
            if own is not None:
                copied = await _here(own, mirror)
            if self._request["task"] != "here":
                await self._ask_upstream(raw, mirror, own, copied, answer)
        except ElsewhereForTokens as error:
            answer["problem"] = (
                f"{error}; if that host is right, write it as token_host in this entry"
            )
        except ClientError as error:
            answer["problem"] = str(error)
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
            # An answer in a form that nobody thought of is one upstream's problem, not everybody's.
            answer["problem"] = f"an answer cannot be read ({type(error).__name__})"
        return answer | asdict(copied)

    async def _ask_upstream(
        self,
        raw: Mapping[str, Any],
        mirror: Mirror,
        own: Registry | None,
        copied: Copied,
        answer: dict[str, Any],
    ) -> None:
        """Adds what upstream has to the answer, and copies what is missing."""
        name = str(raw["upstream"])
        if name not in self._manners:
            self._manners[name] = self._new_manners(name)
        async with Upstream(name, self._settings(raw, name), self._manners[name]) as transport:
            upstream = Registry(transport)
            found = await look(upstream, mirror)
            answer |= {"tags": found.tags, "gone": found.gone}
            if own is not None:
                await copy(upstream, own, mirror, copied, found.all or ())

    def _new_manners(self, upstream: str) -> Manners:
        manners = Manners(upstream, float(self._request.get("patience", PATIENCE)))
        until = float((self._request.get("left_alone") or {}).get(upstream, 0))
        if until > time.time():
            manners.leave(not_before(upstream, until))
        return manners

    def _settings(self, raw: Mapping[str, Any], upstream: str) -> Settings:
        user = str(raw.get("username") or "")
        allowed = (str(raw.get("token_host") or ""), _TOKEN_HOSTS.get(upstream, ""))
        return Settings(
            credentials=Credentials(user, str(raw["password"])) if user else None,
            cacert=self.file(raw.get("ca")),
            plain_http=bool(raw.get("plain_http")),
            max_requests=_REQUESTS,
            token_hosts=frozenset(filter(None, allowed)),
        )


async def _here(own: Registry, mirror: Mirror) -> Copied:
    """As `here`. An entry that was added since the last deployment is no right of the account."""
    try:
        return await here(own, mirror)
    except Denied as error:
        raise Denied(f"{error}: run site.yml, which lets it fill {mirror.to}") from error


def _lead_to(name: str, address: str) -> None:
    """Resolves the registry's name to the host's own address in this process, whatever DNS says:
    the name may lead nowhere yet, or to a proxy before this host."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *arguments: Any, **named: Any) -> Any:
        asked = host.decode() if isinstance(host, bytes) else host
        return resolve(address if asked == name else host, *arguments, **named)

    socket.getaddrinfo = resolved


def main() -> int:
    """Runs one request. Exit code 0 with an answer; 1 with a traceback on standard error."""
    print(json.dumps(asyncio.run(run(json.load(sys.stdin)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
