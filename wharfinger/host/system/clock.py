"""Whether the host's clock can be trusted. Checked before anything is deleted or renewed by age.

`judge` is pure. It compares two readings of the clock. Within a boot, the wall clock must not drift
away from the time since the boot. Across a boot it may go ahead by a month, since the host may have
been off, but it may not go back. A clock that a time server sets is always trusted.

The last reading is kept in clock.json. Files that were written while the clock was in doubt have
its times. These times are kept too, and count as the moment when the doubt ended (`Record.moment`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .durations import in_words
from .files import read_bytes, read_text, write_atomically

_HOUR = 3600.0
_DAY = 86400.0
# Within a boot: seconds by which the wall clock may differ from the time since the boot.
_APART = _DAY
# Across a boot: how many seconds a host may have been off, and how many seconds a clock without a
# time server may go back, because the hardware's clock is less exact.
_OFF = 30 * _DAY
_BACK = _HOUR
# The next reading notices a doubt, at most a quarter of an hour later.
_SLACK = _HOUR
# So many doubts are remembered. If there are more, neighbours are joined.
_REMEMBERED = 16


@dataclass(frozen=True)
class Reading:
    """A reading of the clock. `boot`: the kernel's id of this boot; `wall`: seconds since 1970;
    `up`: seconds since the boot, including suspend; `synchronised`: a time server sets the clock.
    """

    boot: str
    wall: float
    up: float
    synchronised: bool = False


@dataclass(frozen=True)
class Span:
    """Times that a clock in doubt gave, and when the doubt was over (seconds since 1970)."""

    begin: float
    end: float
    over: float


@dataclass(frozen=True)
class Record:
    """The last trusted reading (`boot`, `wall`, `up`), and `start`: when this boot began, by the
    first trusted reading. `doubt`: why the clock has been in doubt since then, "" if it is not;
    `given`: the times that it has shown meanwhile, from and to. `wrong`: doubts that are over."""

    boot: str
    wall: float
    up: float
    start: float
    doubt: str = ""
    given: tuple[tuple[float, float], ...] = ()
    wrong: tuple[Span, ...] = ()

    def moment(self, written: float) -> float:
        """When something was really written that bears the time `written` (seconds since 1970)."""
        for span in self.wrong:
            if span.begin <= written <= span.end:
                return span.over
        return written


def judge(last: Record | None, now: Reading, *, confirmed: bool = False) -> Record:
    """The record after this reading. `confirmed`: a person says that the clock is right."""
    fresh = Record(now.boot, now.wall, now.up, now.wall - now.up)
    if last is None:
        return fresh
    same = last.boot == now.boot
    why = "" if confirmed or now.synchronised else _doubt(last, now, same)
    if why:
        since = now.wall - (now.up - last.up if same else now.up)
        return replace(last, doubt=why, given=_given(last.given, since, now.wall))
    wrong = list(last.wrong)
    for begin, end in last.given:
        # If the clock is right by now, the times that it showed lie before this moment.
        until = min(end + _SLACK, now.wall) if begin <= now.wall else end + _SLACK
        wrong.append(Span(begin, until, now.wall))
    keeps_start = same and not confirmed and not now.synchronised
    return replace(
        fresh,
        start=last.start if keeps_start else fresh.start,
        # A span in the future is forgotten before its time comes.
        wrong=_joined(
            span for span in wrong if span.end <= span.over or span.begin > now.wall + _SLACK
        ),
    )


def _given(
    earlier: tuple[tuple[float, float], ...], since: float, wall: float
) -> tuple[tuple[float, float], ...]:
    """The times that a clock in doubt has shown, including this reading."""
    if not earlier:
        return ((since, wall),)
    *others, (low, high) = earlier
    if low <= wall <= high + _APART:
        return (*others, (low, max(high, wall)))
    # It was set meanwhile. If that happens often, the first spans are joined.
    spans = [*earlier, (wall - _SLACK, wall)]
    while len(spans) > _REMEMBERED:
        spans[:2] = [(min(spans[0][0], spans[1][0]), max(spans[0][1], spans[1][1]))]
    return tuple(spans)


def _doubt(last: Record, now: Reading, same: bool) -> str:
    """Why this reading is in doubt, compared with the last trusted one; "" if it is not."""
    if same:
        apart = now.wall - now.up - last.start
        if abs(apart) <= _APART:
            return ""
        way = "ahead" if apart > 0 else "back"
        return f"it has jumped {_in_words(apart)} {way} since this boot began"
    if last.doubt:
        # A boot does not settle a doubt that was there before it.
        return last.doubt
    gone = now.wall - last.wall
    if gone > _OFF:
        return f"since the last boot it has gone ahead by {_in_words(gone)}"
    if gone < -_BACK:
        return f"since the last boot it has gone back by {_in_words(gone)}"
    return ""


def _in_words(seconds: float) -> str:
    return in_words(abs(seconds), ("day", "hour"), rounded=True)


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """At most _REMEMBERED spans: neighbours are joined, and are over when the later one is."""
    joined = sorted(spans, key=lambda span: (span.begin > span.over, span.begin))
    while len(joined) > _REMEMBERED:
        first, second = joined[0], joined[1]
        over = max(first.over, second.over)
        joined[:2] = [Span(first.begin, max(first.end, second.end), over)]
    return tuple(joined)


# -- the host's own clock --------------------------------------------------------------------------


def synchronised() -> bool:
    """Whether the kernel says that a time server sets the clock. systemd-timesyncd, ntpd, and
    chrony with `rtcsync` (Debian's default) tell the kernel. The kernel forgets it after hours
    without news from them, and when somebody sets the clock by hand."""
    try:
        import ctypes  # only here: few commands need it

        # struct timex, all zero: change nothing. Larger than on any architecture.
        answer: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (ImportError, OSError, AttributeError):
        return False
    return 0 <= answer < _TIME_ERROR


_TIME_ERROR = 5


def boot_id() -> str:
    """The kernel's id of this boot."""
    return (read_text(Path("/proc/sys/kernel/random/boot_id")) or "").strip()


def load(path: Path) -> Record | None:
    """The record of the last reading; None if there is none. A damaged file gives a doubt: the
    previous time is not known."""
    data = read_bytes(path)
    if data is None:
        return None
    try:
        raw: dict[str, Any] = json.loads(data)
        wrong = tuple(Span(**{k: float(v) for k, v in span.items()}) for span in raw.pop("wrong"))
        given = tuple((float(low), float(high)) for low, high in raw.pop("given"))
        boot, doubt = str(raw.pop("boot")), str(raw.pop("doubt"))
        numbers = {key: float(raw[key]) for key in raw}
        record = Record(boot=boot, doubt=doubt, given=given, wrong=wrong, **numbers)
        times = [*numbers.values(), *(time for pair in given for time in pair)]
        times += [time for span in wrong for time in (span.begin, span.end, span.over)]
        if all(map(math.isfinite, times)):
            return record
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        pass
    unknown = f"{path} cannot be read, so what the clock showed before is not known"
    return Record("", 0.0, 0.0, 0.0, doubt=unknown)


def store(path: Path, record: Record) -> None:
    """Keeps the record for the next reading. A full disk is no error."""
    data = json.dumps(asdict(record), indent=1, sort_keys=True).encode() + b"\n"
    with suppress(OSError):
        if read_bytes(path) != data:
            write_atomically(path, data, 0o600)
