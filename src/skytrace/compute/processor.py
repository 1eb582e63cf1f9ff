"""The name of the processor, for reports: results are the same bytes only on the same type of processor."""

from __future__ import annotations

import platform
import re
from pathlib import Path

__all__ = ["processor_name"]


def processor_name(listing: Path = Path("/proc/cpuinfo")) -> str:
    """The model of the processor as Linux ``listing`` gives it, else what Python knows: at least the architecture."""
    if listing.is_file():
        found = re.search(r"^model name\s*:\s*(.+)$", listing.read_text(errors="replace"), re.MULTILINE)
        if found:
            return found.group(1)
    return platform.processor() or platform.machine()
