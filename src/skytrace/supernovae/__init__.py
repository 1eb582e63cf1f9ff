"""From light curves to a Hubble diagram: model, fit, cosmology, population, outliers. Names are loaded on first use."""

from skytrace.compute.lazy_names import lazy_names

_HOME = {
    "CosmologyOptions": "cosmology",
    "FitOptions": "fit_options",
    "ModelOptions": "fit_options",
    "QualityCutOptions": "quality",
    "SpectralSeries": "spectral_energy",
    "apply_quality_cuts": "quality",
    "flux_10pc_jy": "spectral_energy",
    "fit_cosmology": "cosmology",
    "fit_light_curves": "light_curve_fit",
    "model_flux_jy": "light_curve_model",
    "tau_fdr": "opacity",
    "tau_plasma": "opacity",
    "validate_light_curves": "light_curves",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
