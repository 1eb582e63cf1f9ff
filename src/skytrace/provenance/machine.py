"""What a run ran on: processor, memory, accelerator, and the versions of what was installed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from typing import Any

from skytrace.compute.processor import processor_name

__all__ = ["device", "package_versions"]


def package_versions() -> dict[str, str]:
    """Python, skytrace, and the installed version of everything that skytrace depends on directly."""
    versions = {"python": platform.python_version()}
    try:
        requirements = importlib.metadata.requires("skytrace") or []
        names = ["skytrace", *(re.split(r"[^A-Za-z0-9._-]", item, maxsplit=1)[0] for item in requirements)]
    except importlib.metadata.PackageNotFoundError:  # run from the source tree, not installed
        names = ["kedro", "kedro-datasets", "numpy", "scipy", "pandas", "pyarrow", "numba", "astropy", "torch"]
    for name in sorted(set(names)):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def device() -> dict[str, Any]:
    """Processor model, cores that this process may use, memory, and torch's accelerator if torch is loaded."""
    described: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "accelerator": None,
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        described["memory_bytes"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    torch = sys.modules.get("torch")
    if torch is not None:
        described["torch_threads"] = torch.get_num_threads()
        if torch.cuda.is_available():
            described["accelerator"] = torch.cuda.get_device_name(0)
    return described
