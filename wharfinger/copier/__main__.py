"""The copier's process: a request as JSON on standard input, the answer as JSON on standard output.

    {"task": "look" or "copy",
     "registry": {"name": HOST[:PORT], "address": IP, "user", "password", "ca_file" or null},
     "mirrors": [{"from", "to", "upstream", "source", "tags", "platforms", "username", "password",
                  "token_host", "ca_file", "plain_http", "lines": {TAG: DIGEST}}],
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
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wharfinger.client.api import Registry
from wharfinger.client.credentials import Credentials
from wharfinger.client.errors import ClientError, ElsewhereForTokens
from wharfinger.client.references import DOCKER_HUB
from wharfinger.client.transport import Settings, Transport

from .upstream import PATIENCE, Manners, Upstream
from .work import Copied, Mirror, copy, here, look

# The token servers of upstreams that have them on another host.
_TOKEN_HOSTS = {DOCKER_HUB: "auth.docker.io"}
_REQUESTS = 8


async def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """What the process answers."""
    manners: dict[str, Manners] = {}
    answers: list[dict[str, Any]] = []
    registry = request.get("registry")
    if registry is None:
        return await _all(request, None, manners, answers)
    _lead_to(str(registry["name"]).partition(":")[0], str(registry["address"]))
    settings = Settings(
        credentials=Credentials(registry["user"], registry["password"]),
        cacert=_path(registry.get("ca_file")),
        max_requests=_REQUESTS,
        plain_http=bool(registry.get("plain_http")),
    )
    async with Transport(str(registry["name"]), settings) as transport:
        return await _all(request, Registry(transport), manners, answers)


async def _all(
    request: Mapping[str, Any],
    own: Registry | None,
    manners: dict[str, Manners],
    answers: list[dict[str, Any]],
) -> dict[str, Any]:
    patience = float(request.get("patience", PATIENCE))
    for raw in request["mirrors"]:
        upstream = str(raw["upstream"])
        answers.append(
            await _one(raw, own, manners.setdefault(upstream, Manners(upstream, patience)))
        )
    requests: Counter[str] = Counter()
    for treated in manners.values():
        requests.update(treated.requests)
    left = {name: treated.ended.until for name, treated in manners.items() if treated.ended}
    return {"mirrors": answers, "requests": dict(requests), "left_alone": left}


async def _one(raw: Mapping[str, Any], own: Registry | None, manners: Manners) -> dict[str, Any]:
    """The answer for one mirror."""
    mirror = Mirror.of(raw)
    answer: dict[str, Any] = {"to": mirror.to, "from": raw["from"], "problem": None}
    copied = Copied()
    try:
        if own is not None:
            copied = await here(own, mirror)
        async with Upstream(manners.upstream, _settings(raw), manners) as transport:
            upstream = Registry(transport)
            found = await look(upstream, mirror)
            answer |= {"tags": found.tags, "gone": found.gone}
            if own is not None:
                await copy(upstream, own, mirror, copied, found.all or ())
    except ElsewhereForTokens as error:
        answer["problem"] = f"{error}; if that host is right, write it as token_host in this entry"
    except ClientError as error:
        answer["problem"] = str(error)
    return answer | asdict(copied)


def _settings(raw: Mapping[str, Any]) -> Settings:
    upstream, user = str(raw["upstream"]), str(raw.get("username") or "")
    allowed = (str(raw.get("token_host") or ""), _TOKEN_HOSTS.get(upstream, ""))
    return Settings(
        credentials=Credentials(user, str(raw["password"])) if user else None,
        cacert=_path(raw.get("ca_file")),
        plain_http=bool(raw.get("plain_http")),
        max_requests=_REQUESTS,
        token_hosts=frozenset(filter(None, allowed)),
    )


def _path(text: object) -> Path | None:
    return Path(str(text)) if text else None


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
