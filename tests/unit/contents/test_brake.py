"""The brake: which runs wait for a person's confirmation."""

from __future__ import annotations

import pytest

from wharfinger.host.contents.storage.brake import updated_history, verdict


@pytest.mark.parametrize(
    ("count", "total", "history", "stops"),
    [
        (49, 49, [], False),  # small repositories never reach it
        (50, 50, [], True),
        (50, 166, [], True),
        (50, 167, [], False),
        (3000, 10_000, [], False),
        (3001, 10_000, [], True),
        # Far more than any earlier run.
        (600, 10_000, [60, 2], False),
        (601, 10_000, [60, 2], True),
        (49, 10_000, [1], False),
        (50, 10_000, [4], True),
    ],
)
def test_shares_and_earlier_runs(count: int, total: int, history: list[int], stops: bool) -> None:
    assert bool(verdict(["app"] * count, total, {}, history, "tags")) is stops


def test_its_settings_come_from_the_inventory() -> None:
    settings = {"brake_percent": 60, "brake_at_least": 5}
    assert verdict(["app"] * 6, 10, settings, [], "tags") == ""
    assert verdict(["app"] * 7, 10, settings, [], "tags") == (
        "7 of 10 tags would go, more than 60 % (registry_brake_percent): app 7"
    )


def test_repositories_with_the_most_removals_are_named_first() -> None:
    names = [f"r{number}" for number in range(20) for _ in range(number + 1)]
    text = verdict(names, 1000, {"brake_percent": 1}, [], "manifests")
    assert text.startswith("210 of 1000 manifests would go, more than 1 %")
    assert "r19 20, r18 19, " in text
    assert text.endswith("r10 11 and 10 more repositories")
    text = verdict(names, 10_000, {"brake_percent": 100}, [3], "manifests")
    assert "more than 10 times as many as any of the last runs (3 at most)" in text


def test_ten_runs_that_removed_something_are_remembered() -> None:
    history: list[int] = []
    for number in range(30):
        history = updated_history(history, number % 3)
    assert len(history) == 10
    assert set(history) == {1, 2}
