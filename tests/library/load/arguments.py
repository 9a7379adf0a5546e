"""The arguments that say which registry to use, and as which user (`load`, `filling`)."""

from __future__ import annotations

import argparse
from pathlib import Path

from .session import Account, Target


def parser(program: str, description: str | None, may: str) -> argparse.ArgumentParser:
    """A parser with these arguments. `may`: what the user must be allowed to do."""
    made = argparse.ArgumentParser(
        prog=program, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--name", required=True, help="the registry's name, as in its certificate")
    made.add_argument("--address", required=True, help="where it is")
    made.add_argument("--port", type=int, default=443)
    made.add_argument("--ca", required=True, help="the only authority that is trusted")
    made.add_argument("--user", required=True, help=f"one who may {may}")
    made.add_argument("--password-file", required=True, help="a file with the password")
    return made


def target(options: argparse.Namespace) -> Target:
    return Target(options.name, options.address, options.port)


def account(options: argparse.Namespace) -> Account:
    password = Path(options.password_file).read_text(encoding="utf-8").strip()
    return Account(options.user, password)
