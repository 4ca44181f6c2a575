"""The benchmarks' harness: ratios, verdicts, table, exit codes. Peers are not needed."""

import json
import sys
import time

import numpy as np
import pytest

from tests.benchmarks import harness
from tests.benchmarks.__main__ import BENCHMARKS, main
from tests.benchmarks.harness import Comparison, Row, Run, Target, race, ratio, row
from tests.benchmarks.table import HEADER, cells, markdown


def judged(ours, theirs, comparison=None, **target):
    runs = Run(ours, 30.0), theirs and Run(theirs, 50.0)
    return row("A", "5 inputs", "B", *runs, comparison, Target("as asked", **target))


def equal(setting):
    return [Row("A", "1", "B", "same", [1.0], [2.0], equal=True), "A note."]


def unequal(setting):
    return [Row("A", "1", "B", "other", [1.0], [2.0], equal=False)]


def broken(setting):
    raise RuntimeError("broken")


class TestRatio:
    def test_it_is_the_median_of_the_pairs(self):
        # Pairs: 4/1, 9/3, 4/2; the ratio of the medians would be 4/2.
        assert ratio([1, 3, 2], [4, 9, 4], "speedup") == (3, 2, 4)
        assert ratio([4, 9, 4], [1, 3, 2], "slowdown") == (3, 2, 4)

    def test_a_slow_one_that_ran_once_is_compared_with_each_run(self):
        assert ratio([1, 2, 4], [8], "speedup") == (4, 2, 8)


class TestVerdict:
    def test_each_limit_counts(self):
        assert judged([1.0], [3.0], speedup=3).met is True
        assert judged([1.0], [2.9], speedup=3).met is False
        assert judged([2.0], [1.0], slowdown=2).met is True
        assert judged([2.1], [1.0], slowdown=2).met is False
        assert judged([9.0], None, seconds=10, megabytes=30).met is True
        assert judged([9.0], None, seconds=10, megabytes=29).met is False

    def test_fast_is_not_enough(self):
        assert judged([1.0], [9.0], Comparison("", equal=False), speedup=3).met is False
        assert judged([1.0], [9.0], Comparison("", good=False), speedup=3).met is False

    def test_without_a_limit_there_is_none(self):
        assert judged([1.0], [9.0]).met is None


class TestRace:
    def test_they_run_in_turn_after_the_results_were_compared(self):
        calls = []
        work = {name: lambda name=name: calls.append(name) or name for name in "ab"}
        runs, found = race(work, 2, lambda results: calls.append("compared") or results)
        assert calls == ["a", "b", "compared", "a", "b", "a", "b"]
        assert found == {"a": "a", "b": "b"}
        assert [len(run.seconds) for run in runs.values()] == [2, 2]
        assert all(run.result is None for run in runs.values())

    def test_a_slow_one_runs_once(self):
        work = {"fast": lambda: None, "slow": lambda: time.sleep(0.3)}
        runs, _ = race(work, 3, slow=0.25)
        assert [len(run.seconds) for run in runs.values()] == [3, 1]
        assert runs["slow"].seconds[0] >= 0.3

    def test_the_peak_is_above_what_was_there(self):
        def work():
            block = b"x" * 100_000_000  # 100 MB
            time.sleep(0.1)
            return len(block)

        kept = b"x" * 50_000_000
        run = harness.peak(work)
        assert 90 < run.megabytes < 140 and run.result == 2 * len(kept)


FACTS = {
    "cores": 2, "processor": "P", "memory_gb": 8.2, "python": "3", "versions": {"numpy": 2},
    "date": "2030-01-31",
}  # fmt: skip


class TestTable:
    def test_a_row(self):
        made = judged([1.0, 2.0], [4.0, 6.0], Comparison("a | b", equal=True), speedup=3)
        expected = (
            "A;5 inputs;B;a \\| b;1.5 s;5 s;3.5 times faster (3 to 4);2;30 / 50 MB;as asked;yes"
        )
        assert cells(made) == expected.split(";")

    def test_a_peer_that_is_missing(self):
        made = harness.missing("A", "5 inputs", "B", Target("fast"))
        assert cells(made)[3:] == [harness.MISSING, "", "", "", "", "", "fast", ""]

    def test_what_fails_is_said(self):
        rows = [judged([1.0], [1.0], Comparison("", equal=False), speedup=1)]
        text = markdown(rows, ["A note."], ["nc"], False, FACTS)
        assert "**results differ**" in text and "Failed: nc." in text and "A note." in text
        assert "2 cores (P), 8 GB, Python 3, numpy 2; 2030-01-31." in text
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert all(line.count("|") == len(HEADER) + 1 for line in lines)


def test_growth_is_fitted_and_extrapolated():
    from tests.benchmarks.growth import Growth  # imports much, which the processes below go without

    n = [10, 20, 40, 80]
    seconds, megabytes = [k**2 / 100 for k in n], [5 + k for k in n]
    growth = Growth("DSA", *map(np.array, (n, seconds, megabytes)))
    assert growth.exponent == pytest.approx(2)
    assert growth.seconds_at(800, growth.theory) == pytest.approx(6400)  # 80^2 / 100 * 10^2
    assert growth.megabytes_at(1000) == pytest.approx(1005)


class TestCommand:
    def run(self, tmp_path, *functions, only=(), quick=False):
        known = {function: f"{__name__}:{function}" for function in functions}
        arguments = ["--out", str(tmp_path), *(["--only", *only] if only else [])]
        arguments += ["--quick"] if quick else []
        return main(arguments, known)

    def test_all_well(self, tmp_path):
        assert self.run(tmp_path, "equal", "broken", only=["equal"]) == 0
        content = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
        assert content["rows"][0]["ratio"] == [2, 2, 2] and content["notes"]["equal"] == ["A note."]
        assert content["failed"] == [] and content["machine"]["cores"] > 0
        assert "2 times faster" in (tmp_path / "benchmarks.md").read_text(encoding="utf-8")

    def test_only_some_keep_the_rows_of_the_others(self, tmp_path):
        assert self.run(tmp_path, "equal", "unequal") == 1
        assert self.run(tmp_path, "equal", "unequal", only=["equal"]) == 0
        content = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
        assert [row["results"] for row in content["rows"]] == ["same", "other"]
        assert content["notes"] == {"equal": ["A note."], "unequal": []}

    def test_unequal_results_fail(self, tmp_path):
        assert self.run(tmp_path, "equal", "unequal") == 1

    @pytest.mark.parametrize("quick", [False, True])
    def test_one_that_does_not_run_fails_and_the_others_go_on(self, tmp_path, quick):
        assert self.run(tmp_path, "broken", "equal", quick=quick) == 1
        content = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
        assert content["failed"] == ["broken"] and len(content["rows"]) == 1

    @pytest.mark.parametrize("arguments", [["--only", "dsaa"], ["--fast"], ["--only"]])
    def test_bad_arguments_are_one_line(self, arguments, capsys):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1

    def test_every_benchmark_is_there(self):
        for function in BENCHMARKS.values():
            module, _, name = function.partition(":")
            __import__(module)
            assert callable(getattr(sys.modules[module], name))


def test_memory_that_was_not_measured_is_not_shown():
    made = Row("A", "1", "B")
    assert cells(made)[8] == "" and made.as_dict()["ours_mb"] is None
