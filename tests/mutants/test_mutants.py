"""The table of mistakes fits the program; ``python -m tests.mutants`` makes them."""

import ast
from collections import Counter

import pytest

from tests.mutants.run import ROOT, mutated
from tests.mutants.table import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.name))
def test_a_mutant_has_its_place_and_its_test(mutant: Mutant) -> None:
    """The old text is there exactly once, the new one is Python, the test exists."""
    text = (ROOT / "bulkaudio" / mutant.file).read_text()
    ast.parse(mutated(text, mutant))
    if mutant.test is not None:
        file, _, name = mutant.test.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        assert name in {getattr(node, "name", None) for node in tree.body}


def test_there_are_enough_different_mutants() -> None:
    """Twelve at least, and each once."""
    assert max(Counter(mutant.name for mutant in MUTANTS).values()) == 1
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)
    assert len(MUTANTS) >= 12


def test_a_mutant_without_a_clear_place_is_refused() -> None:
    """A program that has moved on is noticed."""
    with pytest.raises(ValueError, match="0 times"):
        mutated("nothing of it", MUTANTS[0])
    with pytest.raises(ValueError, match="2 times"):
        mutated(MUTANTS[0].old * 2, MUTANTS[0])
