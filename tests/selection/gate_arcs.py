"""What the gates compare: rendered lenses in noisy elliptical hosts, measured as in the pipeline; or features alone."""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd

from skytrace.lensing.population import PopulationOptions
from skytrace.selection.realism.comparison import ComparisonSample

SIGMA = np.array([0.004, 0.006, 0.012])
#: Bright, extended sources without clumps (family 1), or with clumps that hold most of the light (family 2).
BRIGHT = PopulationOptions(
    mag_r_min=20.5, mag_r_max=22.0, clumpy_share=0.0, position_rule="magnification", minimum_magnification=3.0,
    size_at_mag24_arcsec=0.45,
)  # fmt: skip
CLUMPY = replace(
    BRIGHT, clumpy_share=1.0, n_clumps=4, clump_share_min=0.8, clump_share_max=0.95, clump_sigma_min_arcsec=0.03,
    clump_sigma_max_arcsec=0.06,
)  # fmt: skip


@functools.lru_cache(maxsize=16)
def composites(n, *, seed, population=BRIGHT, flux=1.0, psf_ratio=1.0):
    """(image (n, 3, 64, 64), table) of lenses in hosts; flux multiplies the arcs, psf_ratio the PSF that blurs them."""
    from skytrace.imaging.apertures import elliptical_radius
    from skytrace.imaging.psf import MoffatPsf
    from skytrace.lensing import render_lenses
    from skytrace.lensing.population import draw_lenses, host_light_shape
    from skytrace.selection.arcs import measure_arcs
    from skytrace.selection.realism.morphology import arc_morphology

    rng = np.random.default_rng(seed)
    e1, e2 = rng.normal(0.0, 0.1, (2, n))
    hosts = pd.DataFrame({"shape_e1": e1, "shape_e2": e2, "ebv": 0.0})
    theta, fwhm = rng.uniform(1.0, 2.2, n), rng.uniform(0.9, 1.3, n)
    draw = draw_lenses(np.arange(n) + 10_000 * seed, theta, hosts, options=population, seed=seed)
    psf = MoffatPsf(np.repeat(psf_ratio * fwhm[:, None], 3, axis=1), 3.5)
    arcs = flux * render_lenses(draw.lenses, draw.sources, psf, pixels=64)
    q, phi = host_light_shape(hosts)
    radius = elliptical_radius(64, q=q, phi_rad=phi)
    light = np.exp(-np.hypot(radius, 1.5) / 3.5)[:, None] * np.array([0.3, 1.0, 2.0])[:, None, None]
    image = arcs + light + SIGMA[:, None, None] * rng.normal(size=arcs.shape)
    invvar = np.broadcast_to(1.0 / SIGMA[:, None, None] ** 2, image.shape)
    known = {"theta_e_arcsec": theta, "fwhm_arcsec": fwhm, "q": q, "phi_rad": phi}
    conditions = {"theta_e": theta, "psf_fwhm": fwhm, "depth": 23.5, "galaxy_id": [f"{seed}-{i}" for i in range(n)]}
    measured = measure_arcs(image, invvar, sigma_pix_nmgy=np.broadcast_to(SIGMA, (n, 3)), **known)
    table = pd.concat([pd.DataFrame(conditions), measured, arc_morphology(image, invvar, **known)], axis=1)
    return image.astype(np.float32), table


def sample_of(anchors, injections, axes=("theta_e", "psf_fwhm", "depth")):
    """A comparison without cuts, every injection of one weight."""
    weight = np.full(len(injections), len(anchors) / max(len(injections), 1))
    return ComparisonSample(
        anchors.reset_index(drop=True),
        injections.assign(weight=weight).reset_index(drop=True),
        {"arc_snr_cut": 5.0},
        axes,
    )


def cheap(n, *, seed, shift=0.0, n_features=20):
    """Features without pixels: normal, of one generator; ``shift`` moves the column ``planted``. Ids never repeat."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(rng.normal(size=(n, n_features)), columns=[f"arc_{k}" for k in range(n_features)])
    table["planted"] = rng.normal(size=n) + shift
    table["theta_e"], table["psf_fwhm"], table["depth"] = rng.uniform(1, 2, n), rng.uniform(0.9, 1.3, n), 23.5
    table["arc_snr"] = 10 ** rng.normal(1.2, 0.2, n)
    return table.assign(galaxy_id=[f"{seed}-{i}" for i in range(n)])
