"""CPU, memory, GPU and energy that a block of code uses."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from utils.machine.energy import EnergyTracker, check_country, process_tree, tree_cpu_seconds

_MEGABYTE = 1e6


@dataclass
class Usage:
    """What a block used; filled in when the block ends, NaN before.

    Attributes
    ----------
    wall_seconds, cpu_seconds : float
        Elapsed time, and processor time of this process and all its children.
    cpu_percent : float
        Mean processor use; 100 = one core.
    memory_mean_mb, memory_peak_mb : float
        Resident memory in MB (10^6 bytes) of the process tree, or of its children alone (see
        `Meter`), libraries included; sampled in the background.
    gpu_percent, gpu_memory_mb : float
        Mean utilization and peak memory of the machine's NVIDIA GPUs; NaN without one.
    energy_kwh : float
        Energy in kWh; NaN if CodeCarbon could not start.
    energy_method : str
        How it was obtained: ``measured (...)``, ``estimated (...)`` or ``not available (...)``.
    """

    wall_seconds: float = math.nan
    cpu_seconds: float = math.nan
    cpu_percent: float = math.nan
    memory_mean_mb: float = math.nan
    memory_peak_mb: float = math.nan
    gpu_percent: float = math.nan
    gpu_memory_mb: float = math.nan
    energy_kwh: float = math.nan
    energy_method: str = ""


class Meter:
    """Measures any number of blocks, one after another, at a few milliseconds each.

    The first meter of a process takes one to four seconds to find out about the hardware, later
    ones some milliseconds: make one meter and call `measure` on it for each block.

    Parameters
    ----------
    country : str, default="ESP"
        ISO 3166 alpha-3 code of the country whose electricity is used.
    interval : float, default=0.1
        Seconds between two samples of the memory.
    memory_of : {"tree", "children"}, default="tree"
        Whose memory counts: this process's and its children's, or its children's alone.

    Raises
    ------
    ValueError
        If there is no such country.

    Examples
    --------
    >>> meter = Meter("ESP")  # doctest: +SKIP
    >>> with meter.measure() as usage:  # doctest: +SKIP
    ...     work()
    >>> usage.energy_kwh, usage.energy_method  # doctest: +SKIP
    """

    def __init__(
        self, country: str = "ESP", interval: float = 0.1, memory_of: str = "tree"
    ) -> None:
        self.interval, self.memory_of = interval, memory_of
        self._energy = EnergyTracker(check_country(country))
        self._gpus = _nvidia_gpus()
        self._running = False

    @property
    def energy_method(self) -> str:
        """How the energy is obtained, in words."""
        return self._energy.method

    @contextmanager
    def measure(self) -> Iterator[Usage]:
        """Measure a block; the yielded `Usage` is complete once the block has ended.

        Raises
        ------
        RuntimeError
            If this meter is already measuring; nested blocks need a meter each.
        """
        if self._running:
            raise RuntimeError("meter: already measuring; use a second Meter for a block inside")
        self._running = True
        usage = Usage()
        self._energy.start()
        sampler = _Sampler(self.interval, self._gpus, self.memory_of)
        cpu, wall = tree_cpu_seconds(), time.perf_counter()
        sampler.start()
        try:
            yield usage
        finally:
            usage.wall_seconds = time.perf_counter() - wall
            usage.cpu_seconds = max(0.0, tree_cpu_seconds() - cpu)
            sampler.stop()
            usage.cpu_percent = 100 * usage.cpu_seconds / max(usage.wall_seconds, 1e-9)
            usage.memory_mean_mb = _mean(sampler.memory)
            usage.memory_peak_mb = max(sampler.memory)
            usage.gpu_percent = _mean(sampler.gpu_percent)
            usage.gpu_memory_mb = max(sampler.gpu_memory, default=math.nan)
            usage.energy_kwh = self._energy.stop()
            usage.energy_method = self._energy.method
            self._running = False


@contextmanager
def measure(country: str = "ESP", memory_of: str = "tree") -> Iterator[Usage]:
    """Measure one block, such as a whole step; `Meter` is the thing for many short ones."""
    with Meter(country, memory_of=memory_of).measure() as usage:
        yield usage


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


class _Sampler(threading.Thread):
    """Looks at the process tree at the start, every `interval` seconds and at the end."""

    def __init__(self, interval: float, gpus: list, memory_of: str) -> None:
        super().__init__(daemon=True, name="resource sampler")
        self.interval, self.gpus = interval, gpus
        self.first = 1 if memory_of == "children" else 0
        self.memory: list[float] = []
        self.gpu_percent: list[float] = []
        self.gpu_memory: list[float] = []
        self._end = threading.Event()
        self._sample()

    def run(self) -> None:
        pause = self.interval
        while not self._end.wait(pause):
            before = time.thread_time()
            self._sample()
            # On a machine with very many processes a look is costly: then look less often.
            pause = max(self.interval, 20 * (time.thread_time() - before))

    def stop(self) -> None:
        self._end.set()
        self.join()
        self._sample()

    def _sample(self) -> None:
        memory = 0
        for process in process_tree()[self.first :]:
            with suppress(psutil.Error):  # it ended meanwhile
                memory += process.memory_info().rss
        self.memory.append(memory / _MEGABYTE)
        if self.gpus:
            import pynvml

            try:
                rates = [pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu for gpu in self.gpus]
                used = sum(pynvml.nvmlDeviceGetMemoryInfo(gpu).used for gpu in self.gpus)
            except pynvml.NVMLError:  # some drivers do not tell
                self.gpus = []
            else:
                self.gpu_percent.append(_mean(rates))
                self.gpu_memory.append(used / _MEGABYTE)


def count_gpus() -> int:
    """NVIDIA GPUs that this process may use."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return len(_nvidia_gpus()) if seen is None else len(seen.split(",")) if seen else 0


def _nvidia_gpus() -> list:
    """Handles of the machine's NVIDIA GPUs; empty without driver or library."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except (OSError, pynvml.NVMLError):
        return []


def gpu_names() -> list[str]:
    """Names of the machine's NVIDIA GPUs, as far as the driver tells."""
    names = []
    for gpu in _nvidia_gpus():
        import pynvml

        with suppress(pynvml.NVMLError):
            names.append(pynvml.nvmlDeviceGetName(gpu))
    return names
