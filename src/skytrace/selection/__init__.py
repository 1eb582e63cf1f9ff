"""The measured selection function: grid, hosts, injections, completeness, gates. Names are loaded on first use."""

from skytrace.compute.lazy_names import lazy_names

_HOME = {
    "CompletenessOptions": "completeness",
    "GridOptions": "grid",
    "HostOptions": "hosts",
    "InjectionOptions": "injection",
    "SelectionFunction": "selection_function",
    "SelectionGrid": "grid",
    "completeness_table": "completeness",
    "degrade_cutouts": "degrade",
    "eligible_hosts": "hosts",
    "inject_lenses": "injection",
    "marginals": "completeness",
    "match_hosts": "hosts",
    "prepare_hosts": "injection",
    "trend_test": "trends",
    "verify_hosts": "hosts",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
