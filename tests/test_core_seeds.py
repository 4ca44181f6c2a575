"""Random numbers: what makes generators differ."""

import re
from itertools import product
from pathlib import Path

import pytest

import utils
from utils.core.seeds import rng


def test_generators_differ_in_seed_purpose_and_numbers():
    numbers = [(), (0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0)]
    draws = {
        tuple(rng(seed, purpose, *counters).integers(2**32, size=4))
        for seed, purpose, counters in product((0, 1, 2, 2**31), ("one", "two", ""), numbers)
    }
    assert len(draws) == 4 * 3 * len(numbers)
    assert rng(3, "one", 2).random() == rng(3, "one", 2).random()


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError):
        rng(-1, "one")


def test_each_use_has_a_purpose_of_its_own():
    sources = [path.read_text() for path in Path(utils.__path__[0]).rglob("*.py")]
    purposes = re.findall(r'\brng\([^"()]*"([^"]+)"', "".join(sources))
    assert len(purposes) == len(set(purposes)) == 17
    assert sum(source.count("default_rng") for source in sources) == 1
