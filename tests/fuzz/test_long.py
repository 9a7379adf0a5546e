"""The long run, cut short: it counts, saves failing inputs as seeds, and reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import long, mutations, targets


def fails_with_an_x(data: bytes) -> None:
    assert b"x" not in data, "there is an x"


@pytest.fixture
def one_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The seeds' folder of a target that fails on the letter x."""
    folder = tmp_path / "seeds" / "letters"
    folder.mkdir(parents=True)
    (folder / "abc").write_bytes(b"abc")
    (tmp_path / "seeds" / "wire").mkdir()
    monkeypatch.setattr(mutations, "SEEDS", tmp_path / "seeds")
    monkeypatch.setattr(targets, "TARGETS", {"letters": fails_with_an_x})
    monkeypatch.setitem(targets.WORDS, "letters", (b"x", b"y"))
    return folder


def test_a_failing_input_is_saved_as_a_seed_and_reported(
    one_target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.md"
    arguments = ["--count", "500", "--target", "letters", "--report", str(file)]
    assert long.main(arguments) == 1
    out, err = capsys.readouterr()
    saved = sorted(one_target.glob("found-*"))
    assert saved and all(b"x" in path.read_bytes() for path in saved)
    assert "letters: AssertionError: there is an x" in err
    assert f"{len(saved)} failures" in out and saved[0].name in out
    assert "`tests/fuzz/long.py --count 500 --seed 1 --target letters`" in file.read_text()


def test_a_run_by_count_is_the_same_each_time(
    one_target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    monkeypatch.setattr(targets, "TARGETS", {"letters": seen.append})
    for _ in range(2):
        assert long.main(["--count", "100", "--target", "letters"]) == 0
    assert len(seen) == 200 and seen[:100] == seen[100:]


def test_what_ends_after_its_time() -> None:
    result = long.plain("decision", 0.2, None, 1)
    assert result.count > 0 and result.failures == 0
