"""Spectra of supernovae: atomic tables, simulations; how observed ones are brought to one grid, and their features.

Names are loaded on first use.
"""

from skytrace.compute.lazy_names import lazy_names

_HOME = {
    "AtomicData": "atomic_data",
    "AtomicOptions": "atomic_options",
    "EJECTA_PARAMETERS": "ejecta",
    "SimulatedSpectra": "simulate",
    "SimulationOptions": "simulation_options",
    "atomic_from_arrays": "atomic_data",
    "atomic_to_arrays": "atomic_data",
    "ejecta_zones": "ejecta",
    "load_atomic_data": "atomic_lines",
    "nickel_decay": "ejecta",
    "partition_function": "atomic_data",
    "physical_problems": "ejecta",
    "simulate_spectra": "simulate",
    "read_line_list": "line_tables",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
