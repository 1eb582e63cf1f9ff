"""Spectra of supernovae: atomic tables; how observed ones are brought to one grid, and the features measured on them.

Names are loaded on first use.
"""

from skytrace.compute.lazy_names import lazy_names

_HOME = {
    "AtomicData": "atomic_data",
    "AtomicOptions": "atomic_options",
    "atomic_from_arrays": "atomic_data",
    "atomic_to_arrays": "atomic_data",
    "load_atomic_data": "atomic_lines",
    "partition_function": "atomic_data",
    "read_line_list": "line_tables",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
