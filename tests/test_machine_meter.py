"""Resources: what a block used, children included, at little cost."""

import math
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from utils.machine import energy
from utils.machine import meter as meters
from utils.machine.meter import Meter, measure


@pytest.fixture(scope="module")
def meter():
    return Meter("ESP")


def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def stopped_clocks(monkeypatch):
    """Stop all clocks. The function that is returned computes, and they show just that time."""
    worked = 0.0

    def work(seconds):
        nonlocal worked
        busy(seconds)  # where energy is measured, some must be used
        worked += seconds

    clocks = [(time, "time"), (time, "perf_counter")]
    clocks += [(module, "tree_cpu_seconds") for module in (energy, meters)]
    for module, name in clocks:
        start = getattr(module, name)()
        monkeypatch.setattr(module, name, lambda start=start: start + worked)
    return work


def test_time_and_processor(meter):
    with meter.measure() as usage:
        busy(0.3)
        time.sleep(0.3)
    # 0.3 s of work and 0.3 s of sleep; other threads' work counts, hence a little less than 0.6 s
    assert usage.wall_seconds >= 0.5
    assert 0.3 <= usage.cpu_seconds < 0.45
    assert usage.cpu_percent == pytest.approx(100 * usage.cpu_seconds / usage.wall_seconds)


def test_memory_peak_is_seen_between_start_and_end(meter):
    with meter.measure() as usage:
        block = np.ones(25_000_000)  # 200 MB
        time.sleep(0.3)
        del block
    assert usage.memory_peak_mb > psutil.Process().memory_info().rss / 1e6 + 150
    assert usage.memory_mean_mb < usage.memory_peak_mb


def test_child_processes_count_also_when_they_have_ended(meter):
    work = "import time\nwhile time.process_time() < 0.5: pass"
    with meter.measure() as usage:
        subprocess.run([sys.executable, "-c", work], check=True)
    assert 0.45 < usage.cpu_seconds < 0.9


def test_child_shorter_than_the_sampling_interval_counts():
    meter = Meter("ESP", interval=60)  # no sample sees the child
    work = "import time\nwhile time.process_time() < 0.3: pass"
    with meter.measure() as usage:
        subprocess.run([sys.executable, "-c", work], check=True)
    assert 0.25 < usage.cpu_seconds < 0.7


def test_child_that_was_busy_before_and_ends_inside_never_counts_negative(meter):
    work = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        with meter.measure() as usage:
            child.communicate(b"\n")
    # the 0.5 s before the block are not the block's
    assert 0 <= usage.cpu_seconds < 0.3


def test_short_blocks_have_energy_and_add_up_to_a_long_one(meter):
    if meter.energy_method.startswith("not available"):
        pytest.skip(meter.energy_method)
    with meter.measure() as long:
        busy(1.5)  # more than a second: CodeCarbon's own sampling would begin
    short = []
    for _ in range(15):
        with meter.measure() as usage:
            busy(0.1)
        short.append(usage)
    energies = [usage.energy_kwh for usage in short]
    assert min(energies) > 0
    # per second, since waiting for a core lengthens blocks
    seconds = sum(usage.wall_seconds for usage in short)
    assert sum(energies) / seconds == pytest.approx(long.energy_kwh / long.wall_seconds, rel=0.3)


def test_estimated_energy_is_power_times_time(meter):
    if "CPU load of this process" not in meter.energy_method:
        pytest.skip("this machine does not estimate energy from processor load")
    tracker = meter._energy._tracker
    power = next(h._tdp for h in tracker._hardware if hasattr(h, "_tdp")) / psutil.cpu_count()
    tracker.start_task()
    before = time.process_time()
    busy(1.3)
    seconds = time.process_time() - before
    cpu_kwh = tracker.stop_task().cpu_energy
    # watts of one busy core x seconds / 3.6e6 J in a kWh
    assert cpu_kwh == pytest.approx(power * seconds / 3.6e6, rel=0.1)


def test_overhead_of_a_block_is_small(meter):
    seconds = []
    for _ in range(20):
        before = time.process_time()  # others on the machine don't change it
        with meter.measure():
            pass
        seconds.append(time.process_time() - before)
    assert np.median(seconds) < 0.05
    with Meter("ESP", interval=60).measure() as usage:
        pass
    assert usage.wall_seconds < 30  # it does not wait for a sample


def test_usage_is_complete_after_an_error_and_the_meter_goes_on(meter):
    with pytest.raises(KeyError), meter.measure() as usage:
        raise KeyError("inside")
    assert usage.wall_seconds >= 0 and usage.memory_peak_mb > 0
    with meter.measure() as usage:
        pass
    assert usage.wall_seconds >= 0


def test_one_meter_measures_one_block_at_a_time_but_two_can_nest(meter, monkeypatch):
    work = stopped_clocks(monkeypatch)
    with meter.measure() as outer:
        with pytest.raises(RuntimeError, match="second Meter"), meter.measure():
            pass
        work(0.1)
        with measure("ESP") as inner:
            work(0.1)
        work(0.1)
    assert inner.wall_seconds == pytest.approx(0.1) == inner.cpu_seconds
    assert outer.wall_seconds == pytest.approx(0.3) == outer.cpu_seconds
    assert inner.energy_method == outer.energy_method
    if not outer.energy_method.startswith("not available"):
        assert outer.energy_kwh >= inner.energy_kwh > 0
    if outer.energy_method.startswith("estimated"):  # the same work costs the same
        assert outer.energy_kwh == pytest.approx(3 * inner.energy_kwh, rel=0.02)


def test_codecarbon_writes_nothing_and_says_nothing(tmp_path):
    code = (
        "from utils.machine.meter import measure\n"
        "with measure('ESP') as usage: pass\n"
        "assert usage.energy_method, usage"
    )
    root = str(meters.__file__).rsplit("utils", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    written = [path for path in tmp_path.iterdir() if not path.name.startswith(".coverage")]
    assert written == []  # but by `--cov`, which measures subprocesses, too


def test_energy_is_nan_with_a_reason_if_codecarbon_cannot_start(monkeypatch):
    import codecarbon

    def refuse(**options):
        raise PermissionError("no access to the counters\nmore")

    monkeypatch.setattr(codecarbon, "OfflineEmissionsTracker", refuse)
    with Meter("ESP").measure() as usage:
        busy(0.01)
    assert math.isnan(usage.energy_kwh)
    assert usage.energy_method == "not available (no access to the counters)"
    assert usage.cpu_seconds > 0


def test_energy_is_nan_if_codecarbon_fails_later(monkeypatch):
    meter = Meter("ESP")
    if meter._energy._tracker is None:
        pytest.skip(meter.energy_method)

    def fail():
        raise OSError("counter is gone")

    with meter.measure() as usage:
        monkeypatch.setattr(meter._energy._tracker, "stop_task", fail)
    assert math.isnan(usage.energy_kwh)
    assert usage.energy_method == "not available (counter is gone)"


def test_method_is_stated_in_words(meter):
    assert meter.energy_method.startswith(("measured (", "estimated (", "not available ("))

    class CPU:
        _mode, _tdp = "intel_rapl", 65.0

    class Tracker:
        _hardware = (CPU(),)

    assert energy._describe(Tracker) == "measured (CodeCarbon: CPU by RAPL, the whole processor)"


@pytest.mark.parametrize("country", ["ES", "XXX", "esp", "Spain", "", None, 34])
def test_country_must_be_a_code(country):
    with pytest.raises(ValueError, match="country: expected"):
        Meter(country)


def test_no_gpu_is_nan(meter):
    if meters._nvidia_gpus():
        pytest.skip("there is a GPU")
    with meter.measure() as usage:
        pass
    assert math.isnan(usage.gpu_percent) and math.isnan(usage.gpu_memory_mb)
