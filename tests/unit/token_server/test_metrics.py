"""The server's metrics, as Prometheus reads them."""

from __future__ import annotations

import time
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from support.token_server import Running, Start, hashed, settings
from wharfinger.token_server.metrics import BUCKETS, Metrics

PREFIX = "wharfinger_token_server_"
Samples = dict[tuple[str, tuple[str, ...]], float]


def samples(server: Running) -> Samples:
    """Name (without our prefix) and values of the labels → value."""
    answer = server.ask("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    return {
        (sample.name.removeprefix(PREFIX), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def test_each_result_is_counted_once_and_exists_from_the_start(start: Start, keys: Path) -> None:
    users = {
        "someuser": {"password": hashed("pw")},
        "late": {"password": hashed("pw"), "expires": "2020-01-01T00:00:00Z"},
    }
    server = start(settings(keys, users=users, limits={"account_failures": 2}))
    before = samples(server)
    results = {labels[0] for kind, labels in before if kind == "requests_total"}
    assert results == {
        *("granted", "wrong_password", "not_let_in", "not_signed_in", "limited", "malformed"),
        "failed",
    }
    assert sum(value for (kind, _), value in before.items() if kind == "requests_total") == 0
    server.login("someuser", "pw")
    server.login("someuser", "pw")
    server.login("someuser", "wrong")
    server.login("late", "pw")
    server.ask("/auth?service=reg")
    server.ask("/auth?scope=nonsense")
    server.ask("/auth?service=reg", {"Authorization": "Basic nonsense"})
    for number in range(5):
        server.login("somebody else", f"guess {number}")
    after = samples(server)
    counted = {name: after["requests_total", (name,)] for name in results}
    limited = counted.pop("limited")
    wrong = counted.pop("wrong_password")
    assert counted == {
        **{"granted": 2, "not_let_in": 1, "not_signed_in": 1, "malformed": 2, "failed": 0}
    }
    assert wrong + limited == 6
    assert limited > 0
    assert after["limited_total", ("account",)] == limited
    assert after["limited_total", ("queue",)] == 0
    # One right login, one not let in, and the wrong ones that were not limited.
    assert after["bcrypt_verifications_total", ()] == 2 + wrong
    assert after["remembered_passwords", ("wrong",)] == wrong
    assert after["request_seconds_count", ()] == 12
    assert after["request_seconds_bucket", ("+Inf",)] == 12
    assert 0 < after["request_seconds_sum", ()] < 60


def test_a_rejected_file_is_shown_until_it_is_repaired(start: Start, keys: Path) -> None:
    good = settings(keys)
    server = start(good)
    assert samples(server)["configuration_rejected", ()] == 0
    server.write("nonsense")
    server.wait_for("rejected")
    seen = samples(server)
    assert seen["configuration_rejected", ()] == 1
    assert seen["reloads_total", ("rejected",)] == 1
    server.write(yaml.safe_dump(good) + "\n")
    server.wait_for("reload")
    seen = samples(server)
    assert seen["configuration_rejected", ()] == 0
    assert (seen["reloads_total", ("taken",)], seen["reloads_total", ("rejected",)]) == (1, 1)


def test_users_that_expire_are_shown_with_the_time(start: Start, keys: Path) -> None:
    name = 'a "quoted\\ name'
    users = {
        name: {"password": hashed("pw"), "expires": "2027-06-30T00:00:00Z"},
        "forever": {"password": hashed("pw")},
    }
    seen = samples(start(settings(keys, users=users)))
    ends = {labels: value for (kind, labels), value in seen.items() if "expires" in kind}
    assert ends == {(name,): 1814313600}
    assert seen["users", ()] == 2


def test_the_process_has_the_usual_metrics(start: Start, keys: Path) -> None:
    seen = samples(start(settings(keys)))
    assert 10e6 < seen["process_resident_memory_bytes", ()] < 500e6
    assert 0 <= time.time() - seen["process_start_time_seconds", ()] < 3600
    assert seen["process_open_fds", ()] > 3
    assert seen["process_cpu_seconds_total", ()] > 0


def test_only_reading_is_possible_and_never_in_the_log(start: Start, keys: Path) -> None:
    server = start(settings(keys))
    assert server.ask("/metrics", method="POST").status == 405
    assert server.ask("/metrics", method="HEAD").status == 200
    samples(server)
    server.login("someuser", "wrong")
    server.wait_for("token")
    assert [line["event"] for line in server.log] == ["start", "token"]


def test_the_metrics_contain_no_secret(start: Start, keys: Path) -> None:
    server = start(settings(keys))
    server.login("someuser", "a wrong password")
    text = server.ask("/metrics").body.decode()
    assert "$2b$" not in text
    assert "wrong password" not in text
    assert "someuser" not in text


def test_an_answer_is_counted_in_the_bucket_of_its_time() -> None:
    metrics = Metrics()
    for seconds in (0.0005, 0.001, 0.0011, 99):
        metrics.answered({"result": "granted"}, seconds)
    counts = dict(metrics.buckets())
    assert counts["0.001"] == 2
    assert counts["0.0025"] == 3
    assert counts[str(BUCKETS[-1])] == 3
    assert counts["+Inf"] == 4
