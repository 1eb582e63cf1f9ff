"""Strong lensing: deflection, sources, rendering, magnification and where multiple images form.

Pure functions on batches; angles in arcsec, fluxes in nanomaggies. Names are loaded on first use, so importing this
package costs nothing and numba is imported only by what renders.
"""

from skytrace.compute.lazy_names import lazy_names

_HOME = {
    "Clumps": "sources",
    "ImageSource": "sources",
    "LensModel": "deflection",
    "SourceModel": "sources",
    "epl_convergence": "power_law",
    "epl_deflection": "power_law",
    "flux_magnification": "magnification",
    "multiply_imaged_area": "caustics",
    "nfw_convergence": "nfw",
    "nfw_deflection": "nfw",
    "nfw_mean_convergence": "nfw",
    "ray_shoot": "deflection",
    "render_lenses": "rendering",
    "sample_source_positions": "caustics",
    "sersic_b": "sources",
    "sersic_flux": "sources",
    "shear_deflection": "deflection",
    "sie_convergence": "deflection",
    "sie_deflection": "deflection",
    "source_surface_brightness": "sources",
    "stack_stamps": "sources",
    "truncated_isothermal_deflection": "nfw",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
