"""Facts about this machine that stand over the table."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from benchmarks.measure import output


def facts(scratch: Path) -> dict[str, str]:
    """What a reader must know to judge the figures."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "processor": f"{_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) >> 20} GiB",
        "kernel": platform.release(),
        "python": f"{platform.python_version()} ({sys.executable})",
        "nix": output(["nix-store", "--version"]).strip() if shutil.which("nix-store") else "not installed",
        "scratch": f"{scratch} ({_file_system(scratch)})",
        "load": f"{load} at the start: the fewer others compute here, the better the figures",
    }


def _field(file: str, name: str) -> str:
    lines = (line.partition(":") for line in Path(file).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "unknown")


def _file_system(path: Path) -> str:
    """Kind of the file system that holds a path."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    holding = [(len(at), kind) for at, kind in mounts if path.is_relative_to(at)]
    return max(holding)[1]
