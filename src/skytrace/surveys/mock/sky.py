"""One mock sky: every table and every component, before any pixel; a function of the options alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.imaging.psf import MoffatPsf, moffat_fwhm_from_psfsize
from skytrace.surveys.interface import BANDS, GALAXY_COLUMNS
from skytrace.surveys.mock.artefacts import Artefacts, draw_artefacts
from skytrace.surveys.mock.conditions import PSF_BETA, draw_pointings, place_galaxies
from skytrace.surveys.mock.field import Stars, draw_neighbours, draw_stars
from skytrace.surveys.mock.lenses import LensSystems, find_lenses, lens_table
from skytrace.surveys.mock.morphology import concatenate_sersic, galaxy_components
from skytrace.surveys.mock.population import band_fluxes, draw_categories, draw_hosts, tractor_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.imaging.profiles import GaussianComponents, SersicComponents
    from skytrace.surveys.mock.options import MockSurveyOptions

__all__ = ["MockSky", "draw_sky"]

#: Streams of random numbers; one per question, so that changing one answer leaves the others as they were.
_STREAMS = (
    "pointings",
    "places",
    "categories",
    "hosts",
    "components",
    "neighbours",
    "stars",
    "artefacts",
    "rows",
    "tiers",
)
_LENS_STREAM, PIXEL_STREAM = 101, 202


@dataclass(frozen=True)
class MockSky:
    """All n galaxies: public tables, the truth, and what each stamp is rendered from.

    galaxies (GALAXY_COLUMNS), lenses (LENS_COLUMNS), truth (n rows). psfdepth: (n, band) the depth of the pixels, also
    where a band is missing at the galaxy. psf: (n, band). lens_row: (n,) row of the lens systems, -1 where none.
    """

    galaxies: pd.DataFrame
    lenses: pd.DataFrame
    truth: pd.DataFrame
    sky: pd.DataFrame
    psf: MoffatPsf
    sersic: SersicComponents
    gaussians: GaussianComponents
    stars: Stars
    systems: LensSystems | None
    lens_row: NDArray[np.int64]
    artefacts: Artefacts


def draw_sky(options: MockSurveyOptions) -> MockSky:
    """The sky of ``options``; the same bit for bit whatever shard_size and threads are."""
    rng = {name: np.random.default_rng([options.seed, i]) for i, name in enumerate(_STREAMS)}
    n = options.n_galaxies
    pointings = draw_pointings(-(-n // options.galaxies_per_pointing), rng=rng["pointings"])
    sky = place_galaxies(pointings, options=options, rng=rng["places"])
    psfsize = sky[[f"psfsize_{band}" for band in BANDS]].to_numpy()
    psf = MoffatPsf(moffat_fwhm_from_psfsize(psfsize, beta=PSF_BETA), PSF_BETA)
    hosts = draw_hosts(draw_categories(options=options, rng=rng["categories"]), options=options, rng=rng["hosts"])
    flux = band_fluxes(*(hosts[name].to_numpy() for name in ("mag_z", "g_r", "r_z")))
    bodies, gaussians = galaxy_components(hosts, flux, rng=rng["components"])
    sersic = concatenate_sersic([bodies, draw_neighbours(hosts, rng=rng["neighbours"])])
    artefacts = draw_artefacts(options=options, rng=rng["artefacts"])
    ids = np.array([f"mock-{i:07d}" for i in range(n)])
    galaxies = pd.concat(
        [pd.DataFrame({"galaxy_id": ids}), sky, tractor_rows(hosts, flux, sky, rng=rng["rows"])], axis=1
    )
    galaxies["maskbits"] = np.int32(0)  # known once the pixels are
    galaxies = _without_missing_bands(galaxies[list(GALAXY_COLUMNS)], artefacts)

    rows = np.flatnonzero(hosts["category"] == "lens")
    lens_row = np.full(n, -1)
    lens_row[rows] = np.arange(len(rows))
    systems = None
    lenses = lens_table(galaxies.iloc[:0], _no_systems(), rng=rng["tiers"])
    truth = pd.DataFrame({"galaxy_id": ids, "category": hosts["category"], "pointing": sky["pointing"]})
    truth = pd.concat([truth, hosts[["mag_z", "g_r", "r_z", "redshift", "radius", "sersic", "q", "phi"]]], axis=1)
    if len(rows):
        at_hosts = (hosts.iloc[rows].reset_index(drop=True), sky.iloc[rows].reset_index(drop=True), psf.take(rows))
        systems = find_lenses(*at_hosts, options=options, seed=(options.seed, _LENS_STREAM))
        lenses = lens_table(galaxies.iloc[rows], systems, rng=rng["tiers"])
        hidden = systems.table.set_index(rows).reindex(range(n))
        truth = pd.concat([truth, hidden], axis=1)
    return MockSky(
        galaxies,
        lenses,
        truth,
        sky,
        psf,
        sersic,
        gaussians,
        draw_stars(n, rng=rng["stars"]),
        systems,
        lens_row,
        artefacts,
    )


def _no_systems() -> LensSystems:
    return LensSystems(pd.DataFrame({"arc_snr": np.empty(0), "theta_e_arcsec": np.empty(0)}), {})


def _without_missing_bands(galaxies: pd.DataFrame, artefacts: Artefacts) -> pd.DataFrame:
    """Where a band's edge leaves the galaxy itself outside, the catalogue has no exposures, flux or depth in it."""
    outside = np.isfinite(artefacts.edge_angle) & (artefacts.edge_offset < 0)
    galaxies = galaxies.copy()
    for b, band in enumerate(BANDS):
        where = outside & artefacts.edge_bands[:, b]
        for name in ("flux", "flux_ivar", "nobs", "psfsize", "psfdepth", "galdepth"):
            galaxies.loc[where, f"{name}_{band}"] = 0
    return galaxies
