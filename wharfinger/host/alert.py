"""Telling an operator what is wrong: by certificates_alert_command, once a day for each problem."""

from __future__ import annotations

from collections.abc import Iterable

from .context import Host
from .state import State

_AGAIN = 86400.0
_PATIENCE = 60
# The message arrives on the command's standard input and as a variable; the command itself is a
# shell's, as an operator would type it.
_SHELL = 'printf "%s\\n" "$WHARFINGER_MESSAGE" | sh -c "$WHARFINGER_ALERT_COMMAND"'


def tell(
    host: Host, state: State, hostname: str, command: str, problems: Iterable[str]
) -> str | None:
    """Tells of those problems that were not told within a day; what is over is forgotten.

    Returns what went wrong with the telling, without the command's words: they may hold secrets.
    """
    problems = list(problems)
    now = host.clock.now()
    fresh = [one for one in problems if now - state.alerted.get(one, 0) >= _AGAIN]
    alerted = {one: state.alerted[one] for one in problems if one in state.alerted}
    failure = None
    if fresh and command:
        said = host.runner.run(
            ["sh", "-c", _SHELL],
            timeout=_PATIENCE,
            environment={
                "WHARFINGER_ALERT_COMMAND": command,
                "WHARFINGER_HOSTNAME": hostname,
                "WHARFINGER_MESSAGE": "\n".join(f"{hostname}: {one}" for one in fresh),
            },
        )
        if not said.ok:
            failure = f"certificates_alert_command ended with exit code {said.code}"
    if failure is None:
        alerted |= dict.fromkeys(fresh, now)
    if alerted != state.alerted:
        state.alerted = alerted
        host.store.save(state)
    return failure
