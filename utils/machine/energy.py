"""Energy of a block of code, by CodeCarbon."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from contextlib import suppress
from typing import Any

import psutil

_MEASURED = {
    "intel_rapl": "RAPL, the whole processor",
    "windows_emi": "Windows EMI, the whole processor",
    "intel_power_gadget": "Intel Power Gadget, the whole processor",
}

_DEFAULTS: dict[str, Any] = {
    "measure_power_secs": 15.0, "force_cpu_power": None, "force_ram_power": None, "pue": 1.0,
    "wue": 0.0, "force_mode_cpu_load": False, "rapl_include_dram": False, "rapl_prefer_psys": False,
    "gpu_ids": None, "region": None, "cloud_provider": None, "cloud_region": None,
    "country_2letter_iso_code": None, "force_carbon_intensity_g_co2e_kwh": None, "metadata": None,
}  # fmt: skip
"""CodeCarbon's own."""


def process_tree() -> list[psutil.Process]:
    """This process and all that it, or one of its children, has started and that still live."""
    this = psutil.Process()
    try:
        return [this, *this.children(recursive=True)]
    except psutil.Error:
        return [this]


def tree_cpu_seconds() -> float:
    """Processor time of this process and all its children, those that have ended included."""
    ended = os.times()
    total = time.process_time() + ended.children_user + ended.children_system
    for child in process_tree()[1:]:
        with suppress(psutil.Error):  # it ended meanwhile
            used = child.cpu_times()
            total += used.user + used.system
            # What a child's own ended children used; not every system tells.
            total += getattr(used, "children_user", 0.0) + getattr(used, "children_system", 0.0)
    return total


def check_country(country: str) -> str:
    """Return `country` if it is an ISO 3166 alpha-3 code in capitals, else raise ValueError."""
    import pycountry

    if not isinstance(country, str) or pycountry.countries.get(alpha_3=country) is None:
        raise ValueError(
            f"country: expected an ISO 3166 alpha-3 code in capitals such as 'ESP', got {country!r}"
        )
    if country != country.upper():
        raise ValueError(f"country: expected capitals, {country.upper()!r}, got {country!r}")
    return country


class EnergyTracker:
    """One CodeCarbon tracker, read once a block (its tasks); silent, offline, writes nothing.

    A task takes the processor time, the energy counters and the clock anew at its start, so the
    energies of consecutive short blocks add up to that of a long one.

    Parameters
    ----------
    country : str
        ISO 3166 alpha-3 code.

    Attributes
    ----------
    method : str
        How the energy is obtained, and where this suite computes instead of CodeCarbon what
        goes into it: ``measured (...)``, ``estimated (...)`` or, if CodeCarbon
        cannot work here, ``not available (reason)``; all energies are NaN then.
    """

    def __init__(self, country: str) -> None:
        self._tracker = None
        try:
            from codecarbon import OfflineEmissionsTracker

            # Its own option for this takes effect only after its first messages.
            logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
            # Whatever is in a user's CodeCarbon configuration file: it could switch on files,
            # servers and the lock file that keeps jobs from running side by side, and give the
            # processor another power.
            self._tracker = OfflineEmissionsTracker(
                country_iso_code=country,
                tracking_mode="process",
                allow_multiple_runs=True,
                output_methods=[],
                output_handlers=[],
                output_dir=tempfile.gettempdir(),
                emissions_endpoint=None,
                electricitymaps_api_token="",
                log_level="critical",
                **_DEFAULTS,
            )
            # The first task looks for the hardware, which takes seconds: not in a user's block.
            self._tracker.start_task()
            if self._tracker.stop_task() is None:
                raise RuntimeError("CodeCarbon did not start")
            _single_interval(self._tracker)
            self.method = _describe(self._tracker)
        # Whatever goes wrong inside CodeCarbon or below it must not stop an experiment.
        except Exception as error:
            self._give_up(error)

    def start(self) -> None:
        """Begin a block."""
        if self._tracker is not None:
            try:
                self._tracker.start_task()
            except Exception as error:  # as above
                self._give_up(error)

    def stop(self) -> float:
        """Energy since `start` in kWh."""
        if self._tracker is None:
            return math.nan
        try:
            return float(self._tracker.stop_task().energy_consumed)
        except Exception as error:  # as above
            self._give_up(error)
            return math.nan

    def _give_up(self, error: Exception) -> None:
        self._tracker = None
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        self.method = f"not available ({reason[:150]})"


def _single_interval(tracker: object) -> None:
    """Let CodeCarbon compute the processor's load from the two ends of a block alone.

    It also looks once a second, from a thread that busy Python code holds up between reading the
    clock and reading the processor time, which made blocks of over a second up to twice too dear.
    And it forgets what children have used that were born, or have ended, within a block.

    CodeCarbon has no option for either; if its private names change, its own samples count again.
    """
    for hardware in getattr(tracker, "_hardware", []):
        if getattr(hardware, "_mode", "") == "cpu_load":
            hardware.monitor_power = lambda: None
            hardware._get_process_cpu_times = lambda: {0: tree_cpu_seconds()}


def _describe(tracker: object) -> str:
    """What CodeCarbon measures on this machine and what it only estimates.

    Read from its private attributes, as its public list of the hardware lacks how each is measured.
    """
    measured, parts = False, []
    for hardware in reversed(getattr(tracker, "_hardware", [])):
        kind, mode = type(hardware).__name__, getattr(hardware, "_mode", "")
        if kind == "CPU" and mode in _MEASURED:
            measured = True
            parts.append(f"CPU by {_MEASURED[mode]}")
        elif kind == "CPU" and mode == "cpu_load":
            load = "CPU load of this process, by this suite in place of CodeCarbon's samples"
            parts.append(f"{load}, x {hardware._tdp:g} W TDP")
        elif kind == "CPU":
            parts.append(f"CPU constant, half of {hardware._tdp:g} W TDP")
        elif kind == "GPU":
            parts.append("GPU measured")
        elif kind == "RAM":
            parts.append("memory by a model")
        else:
            measured = True
            parts.append(f"{getattr(hardware, 'chip_part', '')} by {kind} sensors".strip())
    return f"{'measured' if measured else 'estimated'} (CodeCarbon: {'; '.join(parts)})"
