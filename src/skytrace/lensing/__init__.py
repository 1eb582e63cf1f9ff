"""Strong lensing: deflection, sources, rendering, magnification and where multiple images form.

Pure functions on batches; angles in arcsec, fluxes in nanomaggies. Names are loaded on first use, so importing this
package costs nothing and numba is imported only by what renders.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Clumps": "sources",
    "LensModel": "deflection",
    "SourceModel": "sources",
    "flux_magnification": "magnification",
    "multiply_imaged_area": "caustics",
    "ray_shoot": "deflection",
    "render_lenses": "rendering",
    "sample_source_positions": "caustics",
    "sersic_b": "sources",
    "sersic_flux": "sources",
    "shear_deflection": "deflection",
    "sie_convergence": "deflection",
    "sie_deflection": "deflection",
    "source_surface_brightness": "sources",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
