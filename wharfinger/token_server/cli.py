"""The command line: `serve`, `check`, `explain`, `healthcheck`.

Exit codes: 0; 1 if the configuration is wrong or the server is not healthy; 2 if the command was
not understood.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import addresses, config
from .token_request import BadRequest, TokenRequest, read_scopes

DEFAULT_FILE = Path("/config/auth_config.yml")


class _Usage(Exception):
    """An argument cannot be understood."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except config.ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    except _Usage as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "wharfinger.token_server", description="Answers a container registry's token challenge."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve tokens until SIGTERM")
    serve.add_argument("file", type=Path, help="docker_auth's configuration file")
    serve.add_argument("--host", help="listen on this address (default: the file's server.addr)")
    serve.add_argument("--port", type=_port, help="listen on this port")
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check", help="say whether a configuration file is valid")
    check.add_argument("file", type=Path)
    check.add_argument(
        "--no-keys", action="store_true", help="do not read the certificate and the key it names"
    )
    check.set_defaults(run=_check)

    explain = commands.add_parser("explain", help="say what a user would be granted, and why")
    explain.add_argument("file", type=Path)
    explain.add_argument("user", help='the user\'s name; "" for a client that is not signed in')
    explain.add_argument("scope", nargs="+", help="such as repository:team/app:pull,push")
    explain.add_argument("--service", default="", help="the registry's service name")
    explain.add_argument("--ip", default="127.0.0.1", help="the client's address")
    explain.set_defaults(run=_explain)

    health = commands.add_parser("healthcheck", help="ask the server running here for its health")
    health.add_argument("file", type=Path, nargs="?", default=DEFAULT_FILE)
    health.set_defaults(run=_healthcheck)
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _serve(options: argparse.Namespace) -> int:
    from .server import CannotListen, serve

    try:
        serve(options.file, host=options.host, port=options.port)
    except CannotListen as error:
        print(f"{options.file}: server.addr: {error}", file=sys.stderr)
        return 1
    return 0


def _check(options: argparse.Namespace) -> int:
    valid = config.load(
        config.content_of(options.file),
        name=str(options.file),
        check_keys=not options.no_keys,
        refuse_expired=True,
    )
    print(f"{options.file}: valid: {len(valid.users)} users, {len(valid.acl.entries)} acl entries")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from .issue import decide, rule
    from .login.authentication import not_allowed_reason

    configuration = config.load(config.content_of(options.file), name=str(options.file))
    user = configuration.users.get(options.user)
    if user is None and options.user:
        print(f"{options.file}: users: there is no {options.user!r}", file=sys.stderr)
        return 1
    try:
        address = addresses.address(options.ip)
    except ValueError:
        raise _Usage(f"--ip: {options.ip!r} is not an address") from None
    try:
        scopes = read_scopes(options.scope)
    except BadRequest as error:
        raise _Usage(str(error)) from None
    if user is None:
        grants = [("", "no rule applies to anonymous clients: 401, log in")] * len(scopes)
    elif reason := not_allowed_reason(user, address, time.time()):
        grants = [("", f"{options.user} {reason}: 401")] * len(scopes)
    else:
        request = TokenRequest(options.user, b"", True, options.service, scopes)
        grants = [
            (",".join(answer.actions), rule(configuration, answer) or "no acl entry matches")
            for answer in decide(configuration, request, user, address)
        ]
    for scope, (actions, why) in zip(scopes, grants, strict=True):
        print(f"{scope.type}:{scope.name}: {actions or 'nothing'} ({why})")
    return 0


def _healthcheck(options: argparse.Namespace) -> int:
    listens = config.listens_on(config.content_of(options.file))
    if listens is None:
        print(f"{options.file}: server.addr: is missing", file=sys.stderr)
        return 1
    host, port = listens
    if host in ("", "0.0.0.0", "::"):
        host = "127.0.0.1"
    connection = http.client.HTTPConnection(host, port, timeout=4)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        print(f"{host}:{port} does not answer: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    if response.status != 200 or answer.get("status") != "ok":
        print(f"{host}:{port} answers {response.status}", file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0
