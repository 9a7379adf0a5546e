"""Whether the host's clock can be believed. Asked before anything goes, or is renewed, by its age.

`judge` is pure. It compares two looks at the clock. Within a boot the time on the wall must not run
away from the time since the boot; across a boot it may go ahead by a month, since the host may have
been off, but not back. A clock that a time server sets is always believed.

The last look is kept in clock.json. What was written while the clock was in doubt bears its times:
these are kept too, and count as the moment in which the doubt ended (`Record.moment`).
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
# Within a boot: seconds by which the clock on the wall may leave the time since the boot.
_APART = _DAY
# Across a boot: seconds that a host may have been off, and by which a clock without a time server
# may go back, because the hardware's clock is not as good.
_OFF = 30 * _DAY
_BACK = _HOUR
# A doubt is noticed by the next look, a quarter of an hour later at most.
_SLACK = _HOUR
# As many doubts are remembered; beyond that, those next to each other become one.
_REMEMBERED = 16


@dataclass(frozen=True)
class Reading:
    """A look at the clock. `boot`: the kernel's name for this boot; `wall`: seconds since 1970;
    `up`: seconds since the boot, also those asleep; `synchronised`: a time server sets the clock.
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
    """The last look that was believed (`boot`, `wall`, `up`), and `start`: the time of this boot by
    the clock as it was first believed. `doubt`: why the clock is in doubt since then, "" where it
    is not; `given`: the times that it has given meanwhile, from and to. `wrong`: doubts that are
    over."""

    boot: str
    wall: float
    up: float
    start: float
    doubt: str = ""
    given: tuple[tuple[float, float], ...] = ()
    wrong: tuple[Span, ...] = ()

    def moment(self, written: float) -> float:
        """When something was written whose time says `written` (seconds since 1970)."""
        for span in self.wrong:
            if span.begin <= written <= span.end:
                return span.over
        return written


def judge(last: Record | None, now: Reading, *, confirmed: bool = False) -> Record:
    """The record after this look. `confirmed`: a person says that the clock is right."""
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
        # What a clock that is right by now has given lies before this moment.
        until = min(end + _SLACK, now.wall) if begin <= now.wall else end + _SLACK
        wrong.append(Span(begin, until, now.wall))
    keeps_start = same and not confirmed and not now.synchronised
    return replace(
        fresh,
        start=last.start if keeps_start else fresh.start,
        # Times to come are forgotten before they come.
        wrong=_joined(
            span for span in wrong if span.end <= span.over or span.begin > now.wall + _SLACK
        ),
    )


def _given(
    earlier: tuple[tuple[float, float], ...], since: float, wall: float
) -> tuple[tuple[float, float], ...]:
    """The times that a clock in doubt has given, this look included."""
    if not earlier:
        return ((since, wall),)
    *others, (low, high) = earlier
    if low <= wall <= high + _APART:
        return (*others, (low, max(high, wall)))
    # It was set meanwhile. Of many such, the first go on for the ones after them.
    spans = [*earlier, (wall - _SLACK, wall)]
    while len(spans) > _REMEMBERED:
        spans[:2] = [(min(spans[0][0], spans[1][0]), max(spans[0][1], spans[1][1]))]
    return tuple(spans)


def _doubt(last: Record, now: Reading, same: bool) -> str:
    """Why this look is in doubt after the last one that was believed; "" where it is not."""
    if same:
        apart = now.wall - now.up - last.start
        if abs(apart) <= _APART:
            return ""
        way = "ahead" if apart > 0 else "back"
        return f"it has jumped {_in_words(apart)} {way} since this boot began"
    if last.doubt:
        # A boot explains nothing of what was in doubt before it.
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
    """No more than are remembered: neighbours become one, which is over with the last of them."""
    joined = sorted(spans, key=lambda span: (span.begin > span.over, span.begin))
    while len(joined) > _REMEMBERED:
        first, second = joined[0], joined[1]
        over = max(first.over, second.over)
        joined[:2] = [Span(first.begin, max(first.end, second.end), over)]
    return tuple(joined)


# -- the host's own clock --------------------------------------------------------------------------


def synchronised() -> bool:
    """Whether the kernel says that a time server sets the clock. systemd-timesyncd, ntpd, and
    chrony with `rtcsync` (Debian's default) tell the kernel; it forgets where they fall silent for
    hours, and where somebody sets the clock by hand."""
    try:
        import ctypes  # only here: few commands ask

        # struct timex, all zero: change nothing. Larger than on any architecture.
        answer: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (ImportError, OSError, AttributeError):
        return False
    return 0 <= answer < _TIME_ERROR


_TIME_ERROR = 5


def boot_id() -> str:
    """The kernel's name for this boot."""
    return (read_text(Path("/proc/sys/kernel/random/boot_id")) or "").strip()


def load(path: Path) -> Record | None:
    """What the last look has left; None where there was none. A damaged file is in doubt: what the
    clock showed before is not known."""
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
    """Keeps it for the next look. A full disk keeps nobody from looking."""
    data = json.dumps(asdict(record), indent=1, sort_keys=True).encode() + b"\n"
    with suppress(OSError):
        if read_bytes(path) != data:
            write_atomically(path, data, 0o600)
