"""The console script: the commands, and errors as one sentence with an exit code."""

from __future__ import annotations

import os
import sys

from .errors import FAILED, INTERRUPTED, ClientError


def main() -> None:
    """Run `wharf` and exit."""
    from .cli import app

    try:
        try:
            app(prog_name="wharf")
        finally:
            sys.stdout.flush()
    except ClientError as error:
        print(f"wharf: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output has closed it; Python must not write to it at exit either.
        _discard_output()
        sys.exit(FAILED)
    except OSError as error:
        # All other errors are ClientError, so this one comes from the output.
        print(f"wharf: the output cannot be written: {error.strerror or error}", file=sys.stderr)
        _discard_output()
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
