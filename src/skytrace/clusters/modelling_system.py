"""Everything that is told of one cluster with identified images: NUTS, emcee, the free-form ensemble, and curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from skytrace.clusters.modelling_derived import critical_curves, derived_quantities, interval_68
from skytrace.clusters.modelling_fit import fit_emcee, fit_nuts
from skytrace.clusters.modelling_free_form import free_form_ensemble, free_form_systematic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.clusters.modelling_derived import LensDerived
    from skytrace.clusters.modelling_fit import LensPosterior
    from skytrace.clusters.modelling_images import LensedImages
    from skytrace.clusters.modelling_options import ClusterLensOptions, FreeFormOptions, LensSamplerOptions

__all__ = ["SystemModel", "emcee_beside", "model_system"]


class SystemModel(NamedTuple):
    """model: figures by name, Einstein radii for a source at z_reference. images: a row an image, in the order of the
    input. curves: outlines, each (p, 2) [arcsec], of the mode: tangential, radial and their caustics.
    """

    model: dict[str, Any]
    images: pd.DataFrame
    curves: dict[str, list[NDArray[np.float64]]]


def model_system(
    images: LensedImages, *, lens: ClusterLensOptions, sampler: LensSamplerOptions, free_form: FreeFormOptions,
    emcee_steps: int = 3000, curve_cells: int = 160,
) -> SystemModel:  # fmt: skip
    """Fit one cluster in every way. Raises CatalogueError where parameters outnumber constraints."""
    posterior = fit_nuts(images, options=lens, sampler=sampler)
    derived = derived_quantities(posterior, n_draws=sampler.n_derived)
    ensemble = free_form_ensemble(images, lens=lens, options=free_form, rng=np.random.default_rng(sampler.seed))
    systematic = free_form_systematic(ensemble, derived.einstein_radius_arcsec)
    figures = derived.figures()
    width = 0.5 * (figures["einstein_radius_arcsec_high"] - figures["einstein_radius_arcsec_low"])
    model = {
        "z_reference": lens.z_reference, "n_families": len(images.names), "n_images": len(images.family),
        "n_constraints": images.n_constraints, "n_parameters": len(posterior.mode.names), **figures,
        **emcee_beside(posterior, derived, sampler=sampler, n_steps=emcee_steps), **systematic,
        "einstein_radius_total_err_arcsec": float(np.hypot(width, systematic["systematic_arcsec"])),
        **posterior.diagnostics, "failures": "; ".join(posterior.failures),
    }  # fmt: skip
    found = critical_curves(posterior, cells=curve_cells)
    return SystemModel(model, image_table(images, derived), dict(vars(found)))


def image_table(images: LensedImages, derived: LensDerived) -> pd.DataFrame:
    """One row an image: observed and predicted place, signed magnification and time delay with 68 % intervals."""
    columns: dict[str, Any] = {
        "family": images.family, "z_source": images.z_source, "x_arcsec": images.x_arcsec, "y_arcsec": images.y_arcsec,
        "position_err_arcsec": images.position_err_arcsec,
        "predicted_x_arcsec": np.median(derived.predicted_x_arcsec, axis=0),
        "predicted_y_arcsec": np.median(derived.predicted_y_arcsec, axis=0),
    }  # fmt: skip
    for name in ("magnification", "time_delay_days"):
        low, median, high = interval_68(getattr(derived, name))
        columns |= {name: median, f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame(columns)


def emcee_beside(
    posterior: LensPosterior, derived: LensDerived, *, sampler: LensSamplerOptions, n_steps: int
) -> dict[str, float]:
    """emcee beside NUTS: emcee_shift_sigma, the largest difference of means over parameters in standard deviations;
    emcee_radius_shift_mc, that of the Einstein radius over the Monte Carlo error of the two means;
    emcee_radius_width_ratio, of standard deviations; emcee_ess, of its bulk.
    """
    import arviz

    other = fit_emcee(
        posterior.images, options=posterior.options, sampler=sampler, n_steps=n_steps, mode=posterior.mode
    )
    shifts = [abs(draws.mean() - other.values[name].mean()) / draws.std() for name, draws in posterior.values.items()]
    apart = derived_quantities(other, n_draws=sampler.n_derived).einstein_radius_arcsec
    radius = derived.einstein_radius_arcsec
    ess = [
        min(float(arviz.ess(arviz.convert_to_dataset(one.values))["halo_theta_e_arcsec"]), float(sampler.n_derived))
        for one in (posterior, other)
    ]
    error = np.sqrt(sum(float(np.nanvar(r)) / n for r, n in zip((radius, apart), ess, strict=True)))
    return {
        "emcee_shift_sigma": float(max(shifts)),
        "emcee_radius_shift_mc": float((np.nanmean(apart) - np.nanmean(radius)) / error),
        "emcee_radius_width_ratio": float(np.nanstd(apart) / np.nanstd(radius)),
        "emcee_ess": other.diagnostics["ess_bulk_min"],
    }
