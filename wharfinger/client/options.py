"""The options that several commands share: how to reach a registry, and what to print."""

from __future__ import annotations

import functools
import getpass
import inspect
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from .errors import UsageError
from .output import Output, notice

if TYPE_CHECKING:
    from .api import Registry
    from .credentials import Credentials
    from .transport import Settings

T = TypeVar("T")

User = Annotated[
    str | None,
    typer.Option(
        "--user",
        "-u",
        metavar="NAME",
        help="Log in as NAME, for this command only. The password is asked for, or read from "
        "standard input with --password-stdin. Without this: docker's logins (config.json and "
        "its credential helpers), or none.",
    ),
]
PasswordStdin = Annotated[
    bool,
    typer.Option(
        "--password-stdin",
        help="With --user: read the password from standard input, up to the end of the first line.",
    ),
]
Cacert = Annotated[
    Path | None,
    typer.Option(
        "--cacert",
        metavar="FILE",
        help="Trust the authorities in FILE (PEM) too, beside the system's and those in "
        "docker's certs.d/HOST[:PORT]/.",
    ),
]
PlainHttp = Annotated[
    bool,
    typer.Option(
        "--plain-http",
        help="Speak HTTP without TLS: passwords, tokens and content can be read and changed on "
        "their way. Never the default, not even for localhost.",
    ),
]
MaxRequests = Annotated[
    int,
    typer.Option(
        "--max-requests", metavar="N", min=1, max=256, help="At most N requests at a time."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="TEMPLATE",
        help="Print this Jinja2 template for each row, such as '{{ reference }}'; the fields are "
        "those of --json.",
    ),
]


@dataclass(frozen=True)
class Connection:
    """How one command reaches registries."""

    user: str | None = None
    password_stdin: bool = False
    cacert: Path | None = None
    plain_http: bool = False
    max_requests: int = 8

    def check(self) -> None:
        """Raises UsageError for options that contradict each other."""
        if self.password_stdin and self.user is None:
            raise UsageError("--password-stdin goes with --user NAME")

    @functools.cached_property
    def own_login(self) -> Credentials | None:
        """The login from the command line. Its password is read once."""
        from .credentials import Credentials

        if self.user is None:
            return None
        return Credentials(self.user, password(self.password_stdin))

    def settings(self, registry: str) -> Settings:
        """The transport's settings for a registry."""
        from .credentials import load
        from .transport import Settings

        self.check()
        return Settings(
            credentials=self.own_login if self.user is not None else load(registry),
            cacert=self.cacert,
            plain_http=self.plain_http,
            max_requests=self.max_requests,
        )

    def run(self, registry: str, work: Callable[[Registry], Awaitable[T]]) -> T:
        """The result of `work` with a registry."""
        import asyncio

        from .api import Registry
        from .transport import Transport

        settings = self.settings(registry)

        async def main() -> T:
            async with Transport(registry, settings, notice=notice) as transport:
                return await work(Registry(transport))

        return asyncio.run(main())


def password(from_stdin: bool) -> str:
    """The password, from standard input or asked for on the terminal."""
    if from_stdin:
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise UsageError("--password-stdin: standard input is empty")
        return line
    if not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask for the password: give it on standard input, with "
            "--password-stdin"
        )
    return getpass.getpass("Password: ")


_CONNECTION: dict[str, tuple[Any, Any]] = {
    "user": (User, None),
    "password_stdin": (PasswordStdin, False),
    "cacert": (Cacert, None),
    "plain_http": (PlainHttp, False),
    "max_requests": (MaxRequests, 8),
}
_OUTPUT: dict[str, tuple[Any, Any]] = {"json": (Json, False), "format": (Format, None)}


def options(function: Callable[..., None]) -> Callable[..., None]:
    """A command with options for its parameters `connection: Connection` and `output: Output`."""
    own = inspect.signature(function, eval_str=True).parameters
    added: dict[str, tuple[Any, Any]] = {}
    if "connection" in own:
        added |= _CONNECTION
    if "output" in own:
        added |= _OUTPUT

    @functools.wraps(function)
    def command(**values: Any) -> None:
        if "connection" in own:
            values["connection"] = Connection(**{name: values.pop(name) for name in _CONNECTION})
            values["connection"].check()
        if "output" in own:
            values["output"] = Output(**{name: values.pop(name) for name in _OUTPUT})
            values["output"].check()
        function(**values)

    kept = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in own.items()
        if name not in ("connection", "output")
    ]
    new = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in added.items()
    ]
    command.__signature__ = inspect.Signature([*kept, *new])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*kept, *new]}
    return command
