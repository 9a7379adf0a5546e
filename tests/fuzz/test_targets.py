"""Each target with all seeds and a few thousand mutations of them. tests/fuzz/long.py has more."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.fuzz import mutations, targets

MUTANTS = 4000
SEEDS = [(target, name) for target in targets.TARGETS for name in mutations.seeds(target)]


@pytest.mark.parametrize(("target", "name"), SEEDS, ids=lambda value: value)
def test_a_seed(target: str, name: str) -> None:
    targets.TARGETS[target](mutations.seeds(target)[name])


@pytest.mark.parametrize("target", targets.TARGETS)
def test_mutations_of_the_seeds(target: str) -> None:
    originals = list(mutations.seeds(target).values())
    mutants = mutations.mutants(originals, targets.WORDS[target], random.Random(target))
    for number, data in enumerate(itertools.islice(mutants, MUTANTS)):
        try:
            targets.TARGETS[target](data)
        except Exception as error:
            error.add_note(f"mutation {number} of {target}: {data!r}")
            raise
