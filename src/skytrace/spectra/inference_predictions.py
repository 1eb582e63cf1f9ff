"""What a posterior of parameters says of things that are looked at: spectra, and composition by velocity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.inference_density import from_unit
from skytrace.spectra.inference_target import target_covariance

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions
    from skytrace.spectra.inference_posterior import SpectrumPosterior
    from skytrace.spectra.inference_target import SpectrumTarget

__all__ = ["composition_profiles", "posterior_spectra", "standard_residuals"]

_LEVELS = {"low95": 2.275, "low68": 15.8655, "median": 50.0, "high68": 84.1345, "high95": 97.725}


def posterior_spectra(
    posterior: SpectrumPosterior, target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions,
    n: int = 300,
) -> pd.DataFrame:  # fmt: skip
    """One row a merged bin: wavelength_angstrom, observed, and of the emulator's mean at n draws low95, low68, median,
    high68, high95, all luminosities [erg/s/A]; sigma_inadequacy: the fitted amplitude's median, as a share of flux.

    The bands say where the model's spectrum may lie, not where data may: they hold neither noise nor inadequacy.
    """
    import pandas as pd

    parameters, amplitude = from_unit(posterior.draws(n), model, options, xp=np)
    stretched, _ = model.predict(parameters)
    merged = (stretched[:, target.rows] * target.weights).sum(axis=-1)
    bands = np.percentile(model.unstretch(merged), list(_LEVELS.values()), axis=0)
    observed = model.unstretch(target.observed)
    share = float(np.median(amplitude)) * np.hypot(observed, model.unit_erg_s_a) / np.maximum(np.abs(observed), 1e-300)
    return pd.DataFrame({
        "wavelength_angstrom": target.wavelength_angstrom, "observed": observed,
        **dict(zip(_LEVELS, bands, strict=True)), "sigma_inadequacy": share,
    })  # fmt: skip


def standard_residuals(
    posterior: SpectrumPosterior, target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions,
    n: int = 300,
) -> pd.DataFrame:  # fmt: skip
    """One row a merged bin: wavelength_angstrom, residual (observed less the mean of the model, in y), sigma (of the
    whole covariance at the median amplitude and scale), sigma_without_inadequacy.
    """
    import pandas as pd

    parameters, amplitude = from_unit(posterior.draws(n), model, options, xp=np)
    stretched, scale = model.predict(parameters)
    mean = (stretched[:, target.rows] * target.weights).sum(axis=-1).mean(axis=0)
    middle, size = float(np.median(scale)), float(np.median(amplitude))
    whole, bare = (target_covariance(target, scale=middle, amplitude=a) for a in (size, 0.0))
    return pd.DataFrame({
        "wavelength_angstrom": target.wavelength_angstrom, "residual": target.observed - mean,
        "sigma": np.sqrt(np.diag(whole)), "sigma_without_inadequacy": np.sqrt(np.diag(bare)),
    })  # fmt: skip


def composition_profiles(
    draws: pd.DataFrame, velocity_km_s: ArrayLike, *, zones: int = 60, outer_velocity_km_s: float = 30_000.0
) -> pd.DataFrame:
    """One row a velocity and element: velocity_km_s, atomic_number, median, low68, high68, low95, high95 of the mass
    fraction at the time of the spectrum, and photosphere_share, the share of draws whose v_inner lies below.

    draws: parameters in the columns of a stage. Below a draw's v_inner there is no ejecta to see, so that only draws
    whose v_inner lies lower count. Unphysical draws, of the prior's soft edge, are left out; raises CatalogueError
    where none is left.
    """
    import pandas as pd

    from skytrace.spectra.composition import COMPOSITION_Z
    from skytrace.spectra.ejecta import ejecta_zones, unphysical_masks

    masks = unphysical_masks(draws, outer_velocity_km_s=outer_velocity_km_s)
    good = draws[~np.any([*masks.values(), np.zeros(len(draws), bool)], axis=0)]
    if good.empty:
        raise CatalogueError(f"none of the {len(draws)} draws is physical")
    ejecta = ejecta_zones(good, zones=zones, outer_velocity_km_s=outer_velocity_km_s)
    velocity = np.asarray(velocity_km_s, dtype=np.float64)
    edges = ejecta.velocity_edges_km_s
    place = np.clip((edges[:, :, None] <= velocity).sum(axis=1) - 1, -1, zones - 1)
    fraction = np.take_along_axis(ejecta.mass_fraction, np.maximum(place, 0)[:, :, None], axis=1)
    seen = place >= 0
    rows = []
    for at, v in enumerate(velocity):
        if not seen[:, at].any():
            continue
        bands: NDArray[np.float64] = np.percentile(fraction[seen[:, at], at], list(_LEVELS.values()), axis=0)
        rows += [
            {"velocity_km_s": v, "atomic_number": z, **dict(zip(_LEVELS, bands[:, k], strict=True)),
             "photosphere_share": float(seen[:, at].mean())} for k, z in enumerate(COMPOSITION_Z)
        ]  # fmt: skip
    return pd.DataFrame(rows)
