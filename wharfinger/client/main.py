"""The console script: the commands, and errors as one sentence with an exit code."""

from __future__ import annotations

import os
import sys

from .errors import INTERRUPTED, ClientError


def main() -> None:
    """Runs `wharf` and exits."""
    from .cli import app

    try:
        app(prog_name="wharf")
    except ClientError as error:
        print(f"wharf: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read us has had enough; nothing more can be written, not even at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
