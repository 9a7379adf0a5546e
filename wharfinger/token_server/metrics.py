"""The token server's metrics, in Prometheus' text format (version 0.0.4).

A request costs a few additions. prometheus_client only writes the text: its own counters would cost
as much as the rest of a refusal.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import Metric, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from . import log
from .issue import Issuer

CONTENT_TYPE = "text/plain; version=0.0.4"
# Upper bounds of the histogram's buckets, in seconds. A remembered login takes one or two
# milliseconds, one with bcrypt (cost 10) 60, and more while others wait too.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# The results of requests (`result` in the log). All exist from the start: Prometheus has no rate
# for a series that does not exist yet.
RESULTS = (
    *("granted", "wrong_password", "not_let_in", "not_signed_in", "limited", "malformed"),
    "failed",
)
LIMITS = ("account", "address", "queue")
PREFIX = "wharfinger_token_server_"
_PROCESS = ProcessCollector(registry=None)


class Metrics:
    """Counters since the process began. To be used only in the event loop's thread."""

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

    def text(self, issuer: Issuer, *, rejected: bool) -> bytes:
        """All metrics. `rejected`: the present file is invalid and an earlier one is in force."""
        return generate_latest(_Collected([*self._families(issuer, rejected), *_PROCESS.collect()]))

    def _families(self, issuer: Issuer, rejected: bool) -> Iterator[Metric]:
        passwords = issuer.login.passwords
        users = issuer.configuration.users
        yield _counter("requests", "Requests for a token, by result.", "result", self.results)
        yield _counter("limited", "Requests answered with 429, by limit.", "limit", self.limits)
        yield HistogramMetricFamily(
            f"{PREFIX}request_seconds",
            "How long answers took.",
            buckets=self.buckets(),
            sum_value=round(self._seconds, 6),
        )
        yield CounterMetricFamily(
            f"{PREFIX}log_lines_lost",
            "Lines dropped because standard output, docker's pipe, was full.",
            log.lost,
        )
        yield CounterMetricFamily(
            f"{PREFIX}bcrypt_verifications", "Passwords verified with bcrypt.", passwords.verified
        )
        yield GaugeMetricFamily(
            f"{PREFIX}bcrypt_waiting",
            "Logins that wait for bcrypt.",
            passwords.waiting,
        )
        yield _gauge(
            "remembered_passwords",
            "Passwords remembered as right or wrong.",
            "kind",
            passwords.remembered,
        )
        yield _counter(
            "reloads", "Changed configurations, taken or rejected.", "result", self.reloads
        )
        yield GaugeMetricFamily(
            f"{PREFIX}configuration_rejected",
            "1 while the file is invalid and an earlier one is in force.",
            int(rejected),
        )
        yield GaugeMetricFamily(f"{PREFIX}users", "Users in the file.", len(users))
        yield _gauge(
            "user_expires_timestamp_seconds",
            "When a user expires.",
            "account",
            {name: user.expires for name, user in users.items() if user.expires is not None},
        )

    def buckets(self) -> list[tuple[str, float]]:
        """Each bucket's upper bound, and how many answers took at most that long."""
        return list(zip((*map(str, BUCKETS), "+Inf"), accumulate(self._buckets), strict=True))


class _Collected(Collector):
    """Metrics that exist already, in the form in which prometheus_client asks for them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _counter(name: str, about: str, label: str, counts: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}{name}", about, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _gauge(name: str, about: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}{name}", about, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
