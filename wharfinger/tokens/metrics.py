"""What the token server counts, in Prometheus' text format (version 0.0.4).

Counting is a few additions a request; everything else is looked up when it is asked for.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .service import Service

CONTENT_TYPE = "text/plain; version=0.0.4"
# Upper ends of the histogram's buckets, in seconds: a remembered login takes one or two
# milliseconds, one that is verified 60 (bcrypt's cost 10), and more where others wait too.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# What may come of a request (`result` in the log), each there from the beginning: a rate over what
# has never been counted is no number.
RESULTS = (
    *("granted", "wrong_password", "not_let_in", "not_signed_in", "limited", "malformed"),
    "failed",
)
LIMITS = ("account", "address", "queue")
_BEGUN = time.time()


class Metrics:
    """Counters since the process began. Only for the event loop's own thread."""

    def __init__(self) -> None:
        self.results = Counter(dict.fromkeys(RESULTS, 0))
        self.limits = Counter(dict.fromkeys(LIMITS, 0))
        self.reloads = Counter({"taken": 0, "rejected": 0})
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def answered(self, log: Mapping[str, Any], seconds: float) -> None:
        """A request for a token was answered; `log` is its line in the log."""
        self.results[log["result"]] += 1
        if "limit" in log:
            self.limits[log["limit"]] += 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def text(self, service: Service, *, rejected: bool) -> str:
        """All of it. `rejected`: the file as it is now is not the one in force."""
        return "".join(self._lines(service, rejected))

    def _lines(self, service: Service, rejected: bool) -> Iterator[str]:
        yield from _family(
            "requests_total",
            "counter",
            "Requests for a token, by what came of them.",
            ((f'{{result="{name}"}}', count) for name, count in self.results.items()),
        )
        yield from _family(
            "limited_total",
            "counter",
            "Requests answered 429, by the limit that was reached.",
            ((f'{{limit="{name}"}}', count) for name, count in self.limits.items()),
        )
        yield from _family(
            "request_seconds", "histogram", "How long answers took.", self._histogram()
        )
        passwords = service.passwords
        yield from _family(
            "bcrypt_verifications_total",
            "counter",
            "Passwords verified with bcrypt.",
            [("", passwords.verified)],
        )
        yield from _family(
            "bcrypt_waiting",
            "gauge",
            "Logins that wait for a core to be verified.",
            [("", passwords.waiting)],
        )
        yield from _family(
            "remembered_passwords",
            "gauge",
            "Passwords in memory, right and wrong.",
            ((f'{{kind="{kind}"}}', count) for kind, count in passwords.remembered.items()),
        )
        yield from _family(
            "reloads_total",
            "counter",
            "Changed files that were read, by what came of them.",
            ((f'{{result="{name}"}}', count) for name, count in self.reloads.items()),
        )
        yield from _family(
            "configuration_rejected",
            "gauge",
            "1 while the file is one that cannot be used, and an earlier one is in force.",
            [("", int(rejected))],
        )
        users = service.configuration.users
        yield from _family("users", "gauge", "Users in the file.", [("", len(users))])
        yield from _family(
            "user_expires_timestamp_seconds",
            "gauge",
            "When a login that ends does so.",
            (
                (f'{{account="{_escaped(name)}"}}', user.expires)
                for name, user in users.items()
                if user.expires is not None
            ),
        )
        yield from _process()

    def _histogram(self) -> Iterator[tuple[str, float]]:
        total = 0
        for end, count in zip((*map(str, BUCKETS), "+Inf"), self._buckets, strict=True):
            total += count
            yield f'_bucket{{le="{end}"}}', total
        yield "_sum", round(self._seconds, 6)
        yield "_count", total


def _family(
    name: str, kind: str, about: str, samples: Iterable[tuple[str, float]]
) -> Iterator[str]:
    name = f"wharfinger_token_server_{name}"
    yield f"# HELP {name} {about}\n# TYPE {name} {kind}\n"
    for rest, value in samples:
        yield f"{name}{rest} {value}\n"


def _process() -> Iterator[str]:
    """Under the names by which Prometheus' own client libraries have them."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    for name, kind, value in (
        ("cpu_seconds_total", "counter", round(time.process_time(), 3)),
        ("resident_memory_bytes", "gauge", pages * os.sysconf("SC_PAGE_SIZE")),
        ("open_fds", "gauge", len(list(Path("/proc/self/fd").iterdir()))),
        ("start_time_seconds", "gauge", round(_BEGUN, 3)),
    ):
        yield f"# TYPE process_{name} {kind}\nprocess_{name} {value}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
