"""Where a number came from: the state of code, parameters, machine and files at the moment it was computed."""

from skytrace.provenance.hashing import describe_path
from skytrace.provenance.machine import device, package_versions
from skytrace.provenance.manifest import RunManifest
from skytrace.provenance.memory import PeakMemory
from skytrace.provenance.repository import repository_state
from skytrace.provenance.results import Results, find_results

__all__ = [
    "PeakMemory",
    "Results",
    "RunManifest",
    "describe_path",
    "device",
    "find_results",
    "package_versions",
    "repository_state",
]
