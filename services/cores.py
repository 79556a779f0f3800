"""Decides how many threads are worth having: the cores this process may use."""

import math
import os
import pathlib

CGROUP_LIMIT = pathlib.Path("/sys/fs/cgroup/cpu.max")


def model_threads() -> int:
    """Half of the cores, at least one: the others are for HTTP. With pools of both of two cores the service answered a
    quarter fewer requests (docs/decisions/0013-speed.md)."""
    return max(1, available_cores() // 2)


def available_cores(limit_file: pathlib.Path = CGROUP_LIMIT) -> int:
    """The cores of the process's affinity, or of its container's cpu quota (cgroup 2) where that is smaller."""
    cores = len(os.sched_getaffinity(0))
    if not limit_file.is_file():
        return cores
    quota, period = limit_file.read_text(encoding="ascii").split()
    if quota == "max":
        return cores
    return max(1, min(cores, math.ceil(int(quota) / int(period))))
