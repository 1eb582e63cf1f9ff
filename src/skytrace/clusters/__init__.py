"""Fields of galaxy clusters: features of patches and catalogues, and whether images of one source share a colour.

Bands are g, r, i; fluxes in nanomaggies. Names are loaded on first use, so importing this package costs nothing.
"""

from skytrace.compute.lazy_names import lazy_names

_HOME = {
    "BANDS": "options",
    "CatalogueFeatureOptions": "options",
    "ColourConsistency": "colours",
    "ColourOptions": "options",
    "PatchOptions": "options",
    "bright_peaks": "patches",
    "catalogue_features": "catalogue",
    "colour_consistency": "colours",
    "feature_columns": "patches",
    "feature_schema": "patches",
    "matched_colours": "colours",
    "patch_features": "patches",
    "theta_e_from_l_x": "catalogue",
    "theta_e_from_richness": "catalogue",
    "theta_e_from_sigma_v": "catalogue",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
