"""Einstein radii and masses of simulated clusters recovered from their multiple images.

The clusters are made by another code path: lenstronomy's NFW (ellipticity in the potential), pseudo-Jaffe galaxies and
shear, its solver of the lens equation, and astropy's distances. Parameters are drawn from the priors of the fit; four
sources at z = 1 to 3, each with three images or more that are points, not one arc (MOST_MAGNIFIED); errors of 0.3" and
0.2 in ln flux. Figures: bias of the Einstein radius and the mass with its standard error, the share of 68 % intervals
that hold the truth, pulls, CPU seconds a cluster; the free-form ensemble beside every one, emcee beside every 32nd.

A cluster's figures are kept in the folder of temporary files under a fingerprint of the sources, so that a run that was
stopped goes on. --quick: four clusters. --check fails outside BOUNDS.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

from skytrace.clusters.modelling_images import LensedImages
from skytrace.clusters.modelling_options import ClusterLensOptions, FreeFormOptions, LensSamplerOptions

Z_LENS, Z_SOURCES = 0.4, (1.0, 1.5, 2.0, 3.0)
N_MEMBERS, POSITION_ERR, FLUX_ERR, MOST_MAGNIFIED = 16, 0.3, 0.2, 60.0
N_CLUSTERS, N_QUICK, EMCEE_EVERY = 96, 4, 32
SAMPLER = LensSamplerOptions(n_starts=8, n_chains=2, n_warmup=200, n_samples=400, ess_min=100.0, r_hat_max=1.05)
BOUNDS = {"bias_radius": (-0.02, 0.02), "coverage_radius": (0.6, 0.76)}


class Truth(NamedTuple):
    """einstein_radius_arcsec and mass_msun within the tangential critical curve for a source at z_reference; the images
    without errors; magnification, time_delay_days (n,); parameters by the names of ClusterMass.
    """

    einstein_radius_arcsec: float
    mass_msun: float
    x_arcsec: np.ndarray
    y_arcsec: np.ndarray
    magnification: np.ndarray
    time_delay_days: np.ndarray
    parameters: dict[str, float]


def mock_cluster(
    seed: int, *, options: ClusterLensOptions, fluxes: bool = True, n_members: int = N_MEMBERS
) -> tuple[LensedImages, Truth]:
    """One simulated cluster: what is observed, and the truth."""
    rng = np.random.default_rng([6, seed])
    truth = draw_parameters(rng, options)
    places = member_positions(rng, n_members)
    model = PeerLens(truth, places, options)
    columns: list[list[np.ndarray]] = []
    for number, z_source in enumerate(Z_SOURCES):
        columns.append([*model.source(rng, z_source), number, z_source])
    sizes = [len(column[0]) for column in columns]
    x, y, mu, delay = (np.concatenate([column[k] for column in columns]) for k in range(4))
    family, z_source = (np.repeat([column[k] for column in columns], sizes) for k in (4, 5))
    log_flux = rng.normal(0.0, 1.0, len(Z_SOURCES))[family] + np.log(np.abs(mu))
    images = LensedImages(
        family=family, x_arcsec=x + rng.normal(0.0, POSITION_ERR, len(x)),
        y_arcsec=y + rng.normal(0.0, POSITION_ERR, len(x)), position_err_arcsec=POSITION_ERR, z_source=z_source,
        z_lens=Z_LENS, log_flux=log_flux + rng.normal(0.0, FLUX_ERR, len(x)) if fluxes else None,
        log_flux_err=FLUX_ERR if fluxes else None, member_x_arcsec=places[0], member_y_arcsec=places[1],
        member_luminosity=places[2],
    )  # fmt: skip
    return images, Truth(*model.einstein_radius_and_mass(), x, y, mu, delay, truth)


def draw_parameters(rng: np.random.Generator, options: ClusterLensOptions) -> dict[str, float]:
    """From the fit's priors, the halo's Einstein radius from 12 to 28 arcsec within its own."""
    e = options.ellipticity_sigma * rng.normal(size=2)
    e = e / np.sqrt(1.0 + (e @ e) / 0.35**2)
    centre, shear = options.halo_centre_sigma_arcsec * rng.normal(size=2), options.shear_sigma * rng.normal(size=2)
    return {
        "halo_theta_e_arcsec": float(np.exp(rng.uniform(np.log(12.0), np.log(28.0)))),
        "halo_scale_arcsec": options.nfw_scale_arcsec * float(np.exp(options.halo_scale_scatter * rng.normal())),
        "halo_e1": float(e[0]), "halo_e2": float(e[1]), "halo_x_arcsec": float(centre[0]),
        "halo_y_arcsec": float(centre[1]),
        "member_theta_e_arcsec": options.member_theta_e_arcsec * float(np.exp(options.member_scatter * rng.normal())),
        "member_truncation_arcsec": options.member_truncation_arcsec
        * float(np.exp(options.member_truncation_scatter * rng.normal())),
        "brightest_factor": float(np.exp(options.brightest_scatter * rng.normal())),
        "gamma1": float(shear[0]), "gamma2": float(shear[1]),
    }  # fmt: skip


def member_positions(rng: np.random.Generator, n: int) -> np.ndarray:
    """x, y [arcsec] and luminosity (3, n): the brightest at the origin, the others out to 50 arcsec."""
    radius, angle = 50.0 * rng.uniform(0.1, 1.0, n), rng.uniform(0.0, 2.0 * np.pi, n)
    luminosity = np.minimum(0.2 * rng.uniform(size=n) ** -0.7, 2.0)
    luminosity[0], radius[0] = 3.0, 0.0
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), luminosity])


class PeerLens:
    """The cluster in lenstronomy, for sources at any redshift."""

    def __init__(self, truth: dict[str, float], members: np.ndarray, options: ClusterLensOptions) -> None:
        from astropy.cosmology import FlatLambdaCDM
        from lenstronomy.LensModel.lens_model import LensModel
        from lenstronomy.LensModel.Solver.lens_equation_solver import LensEquationSolver

        self.truth, self.members, self.z_reference = truth, members, options.z_reference
        self.cosmology = FlatLambdaCDM(H0=options.h0_km_s_mpc, Om0=options.omega_m, Tcmb0=0.0)
        self.slopes = 2.0 * options.faber_jackson_slope, options.truncation_slope
        self.model = LensModel(["NFW_ELLIPSE_POTENTIAL", "SHEAR", *["PJAFFE"] * members.shape[1]])
        self.solver = LensEquationSolver(self.model)

    def ratio(self, z_source: float) -> float:
        """D_ls / D_s over that of the reference."""

        def share(z: float) -> float:
            return 1.0 - float(self.cosmology.comoving_distance(Z_LENS) / self.cosmology.comoving_distance(z))

        return share(z_source) / share(self.z_reference)

    def distance(self, z_source: float) -> Any:
        """D_l D_s / D_ls, a length of astropy."""
        near, far = self.cosmology.comoving_distance(Z_LENS), self.cosmology.comoving_distance(z_source)
        return near * far / (far - near) / (1.0 + Z_LENS)

    def keywords(self, ratio: float) -> list[dict[str, float]]:
        """lenstronomy's parameters, the deflection times ratio."""
        t = self.truth

        def enclosed(x: float) -> float:  # Wright & Brainerd 2000, eq. 13, of an NFW halo: x times alpha, unnormalised
            inner = np.arccosh(1.0 / x) / np.sqrt(1.0 - x**2) if x < 1 else np.arccos(1.0 / x) / np.sqrt(x**2 - 1.0)
            return float(np.log(x / 2.0) + inner)

        theta_e, scale = t["halo_theta_e_arcsec"], t["halo_scale_arcsec"]
        alpha_at_scale = theta_e**2 / scale * (1.0 - np.log(2.0)) / enclosed(theta_e / scale)
        epsilon, phi = np.hypot(t["halo_e1"], t["halo_e2"]), 0.5 * np.arctan2(t["halo_e2"], t["halo_e1"])
        q = np.sqrt((1.0 - epsilon) / (1.0 + epsilon))
        flat = (1.0 - q) / (1.0 + q)
        halo = {
            "Rs": scale, "alpha_Rs": ratio * alpha_at_scale, "e1": flat * np.cos(2 * phi), "e2": flat * np.sin(2 * phi),
            "center_x": t["halo_x_arcsec"], "center_y": t["halo_y_arcsec"],
        }  # fmt: skip
        shear = {"gamma1": ratio * t["gamma1"], "gamma2": ratio * t["gamma2"], "ra_0": 0.0, "dec_0": 0.0}
        galaxies = []
        for k, (x, y, luminosity) in enumerate(self.members.T):
            strength = t["member_theta_e_arcsec"] * luminosity ** self.slopes[0]
            strength *= t["brightest_factor"] if k == 0 else 1.0
            cut, core = t["member_truncation_arcsec"] * luminosity ** self.slopes[1], 2e-3
            density = 0.5 * ratio * strength * (cut - core) / (cut * core)
            galaxies.append({"sigma0": density, "Ra": core, "Rs": cut, "center_x": x, "center_y": y})
        return [halo, shear, *galaxies]

    def source(self, rng: np.random.Generator, z_source: float) -> tuple[np.ndarray, ...]:
        """x, y [arcsec], signed magnification and time delay [days] of the images of one source: three or more that are
        apart and not demagnified.
        """
        ratio = self.ratio(z_source)
        keywords = self.keywords(ratio)
        reach = 0.5 * ratio * self.truth["halo_theta_e_arcsec"]
        for _ in range(200):
            radius, angle = reach * np.sqrt(rng.uniform()), rng.uniform(0.0, 2.0 * np.pi)
            beta = radius * np.cos(angle), radius * np.sin(angle)
            x, y = self.solver.image_position_from_source(
                *beta, keywords, min_distance=1.0, search_window=130.0, precision_limit=1e-9, num_iter_max=100
            )
            mu = self.model.magnification(x, y, keywords)
            seen = np.abs(mu) > 0.6
            x, y, mu = x[seen], y[seen], mu[seen]
            gaps = np.hypot(x[:, None] - x, y[:, None] - y) + 1e3 * np.eye(len(x))
            if len(x) >= 3 and gaps.min() > 1.5 and np.abs(mu).max() < MOST_MAGNIFIED:
                fermat = self.model.fermat_potential(x, y, keywords, *beta)
                days = (1.0 + Z_LENS) * self.distance(z_source).to_value("lyr") * 365.25
                delay = fermat * days / 206264.806**2
                return x, y, mu, delay - delay.min()
        raise RuntimeError("no source with three images was found: the mock's parameters make no strong lens")

    def einstein_radius_and_mass(self, cells: int = 500) -> tuple[float, float]:
        """By counting cells of a fine grid within the tangential critical curve."""
        from astropy import constants, units
        from scipy.ndimage import label

        reach = 2.5 * self.truth["halo_theta_e_arcsec"]
        axis = np.linspace(-reach, reach, cells)
        x, y = np.meshgrid(axis, axis)
        xx, xy, yx, yy = self.model.hessian(x.ravel(), y.ravel(), self.keywords(1.0))
        kappa, gamma = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), 0.5 * (xy + yx))
        labels, _ = label((1.0 - kappa - gamma < 0).reshape(x.shape))
        inside = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
        cell = (axis[1] - axis[0]) ** 2
        critical = constants.c**2 / (4.0 * np.pi * constants.G) * self.distance(self.z_reference) / 206264.806**2
        mass = kappa.reshape(x.shape)[inside].sum() * cell * critical.to_value(units.Msun)
        return float(np.sqrt(inside.sum() * cell / np.pi)), float(mass)


def recover(seed: int, options: ClusterLensOptions, sampler: LensSamplerOptions) -> dict[str, float]:
    """Figures of one cluster."""
    from skytrace.clusters.modelling_derived import derived_quantities, interval_68
    from skytrace.clusters.modelling_fit import fit_nuts
    from skytrace.clusters.modelling_system import emcee_beside

    images, truth = mock_cluster(seed, options=options)
    started = time.process_time()
    posterior = fit_nuts(images, options=options, sampler=sampler)
    derived = derived_quantities(posterior, n_draws=sampler.n_derived)
    seconds = time.process_time() - started
    figures = derived.figures()
    out = {"seconds": seconds, "rms": figures["image_rms_arcsec"], "n_images": float(len(images.family))}
    for short, name in (("radius", "einstein_radius_arcsec"), ("mass", "mass_msun")):
        value, low, high = figures[name], figures[f"{name}_low"], figures[f"{name}_high"]
        true = getattr(truth, name)
        out |= {f"error_{short}": value / true - 1.0, f"covered_{short}": float(low <= true <= high)}
        out |= {f"width_{short}": 0.5 * (high - low) / true, f"pull_{short}": 2.0 * (value - true) / (high - low)}
    spread = interval_68(derived.magnification)
    true_mu = truth.magnification
    out["covered_magnification"] = float(((spread[0] <= true_mu) & (true_mu <= spread[2])).mean())
    kept = "r_hat_max", "ess_bulk_min", "divergences", "starts_at_mode", "leapfrog_steps_mean"
    out |= {name: posterior.diagnostics[name] for name in kept} | {"converged": float(posterior.converged)}
    out |= free_form_figures(images, options, derived.einstein_radius_arcsec, truth.einstein_radius_arcsec)
    if seed % EMCEE_EVERY == EMCEE_EVERY - 1:
        out |= emcee_beside(posterior, derived, sampler=sampler, n_steps=3000)
    return out


def free_form_figures(
    images: LensedImages, options: ClusterLensOptions, radius: np.ndarray, true: float
) -> dict[str, float]:
    """The ensemble's Einstein radius beside the truth, and what it adds to the parametric error."""
    from skytrace.clusters.modelling_free_form import free_form_ensemble, free_form_systematic

    started = time.process_time()
    ensemble = free_form_ensemble(images, lens=options, options=FreeFormOptions(), rng=np.random.default_rng(0))
    figures = free_form_systematic(ensemble, radius)
    return {
        "free_form_error": figures["free_form_radius_arcsec"] / true - 1.0,
        "free_form_width": figures["spread_arcsec"] / true, "systematic": figures["systematic_arcsec"] / true,
        "free_form_without_curve": figures["without_curve"],
        "free_form_rms_source": float(ensemble.source_rms_arcsec.mean()),
        "free_form_seconds": time.process_time() - started,
    }  # fmt: skip


class Kept(NamedTuple):
    """The file of one cluster's figures."""

    path: Path
    seed: int


def keep(shard: Kept) -> Path:
    """Fit one cluster and write its figures."""
    from skytrace.compute.files import atomic_path

    row = recover(shard.seed, ClusterLensOptions(), SAMPLER)
    measure.note(", ".join(f"{key} {value:.3g}" for key, value in row.items()))
    with atomic_path(shard.path) as path:
        path.write_text(json.dumps(row))
    return shard.path


def rows_of(n: int) -> list[dict[str, float]]:
    """Figures of the first n clusters, made or read."""
    from skytrace.compute import fingerprint, map_shards
    from skytrace.compute.fingerprint import source_fingerprint

    parts = ("mass", "images", "density", "search", "fit", "derived", "free_form", "options", "system")
    sources = source_fingerprint(*(f"skytrace.clusters.modelling_{part}" for part in parts))
    key = fingerprint(sources, Path(__file__).read_bytes())
    folder = Path(tempfile.gettempdir()) / f"skytrace-cluster-modelling-{key}"
    measure.note(f"figures are kept in {folder}")
    paths = map_shards(keep, [Kept(folder / f"{seed:04d}.json", seed) for seed in range(n)], workers=1)
    return [json.loads(path.read_text()) for path in paths]


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Bias, coverage and pulls over the clusters, and the means of everything else."""
    from skytrace.statistics.intervals import beta_interval

    n = len(rows)
    names = dict.fromkeys(key for row in rows for key in row)
    table = {key: np.array([row[key] for row in rows if key in row]) for key in names}
    figures: dict[str, Any] = {"n": n}
    for short in ("radius", "mass"):
        error, covered, pull = table[f"error_{short}"], int(table[f"covered_{short}"].sum()), table[f"pull_{short}"]
        low, high = beta_interval(covered, n)
        figures |= {
            f"bias_{short}": float(error.mean()), f"bias_{short}_err": float(error.std(ddof=1) / np.sqrt(n)),
            f"scatter_{short}": float(error.std(ddof=1)), f"coverage_{short}": covered / n,
            f"coverage_{short}_low": float(low), f"coverage_{short}_high": float(high),
            f"width_{short}": float(table[f"width_{short}"].mean()), f"pull_mean_{short}": float(pull.mean()),
            f"pull_sd_{short}": float(pull.std(ddof=1)),
        }  # fmt: skip
    free = table["free_form_error"]
    means = ("converged", "covered_magnification", "rms", "free_form_width", "systematic", "free_form_without_curve")
    return figures | {name: float(table[name].mean()) for name in means} | {
        "free_form_bias": float(np.nanmean(free)), "free_form_scatter": float(np.nanstd(free, ddof=1)),
        "r_hat_worst": float(table["r_hat_max"].max()), "divergences_per_cluster": float(table["divergences"].mean()),
        **{name: float(values.mean()) for name, values in table.items() if name.startswith("emcee")},
        "seconds_per_cluster": float(np.median(table["seconds"])), "seconds_first": float(table["seconds"][0]),
        "seconds_worst_compiled": float(table["seconds"][1:].max()),
        "free_form_seconds": float(np.median(table["free_form_seconds"])),
    }  # fmt: skip


def main() -> None:
    """Run, print the JSON line, and check it where asked."""
    arguments = measure.arguments(__doc__)
    device = measure.one_thread()
    rows = rows_of(N_QUICK if arguments.quick else N_CLUSTERS)
    found = summary(rows)
    row = measure.print_line(
        name="cluster_modelling", unit=f"share of the 68 % intervals of {len(rows)} Einstein radii that hold the truth",
        ours=found["coverage_radius"], peer=None, **found, threads=1, device=device,
    )  # fmt: skip
    if arguments.check and (broken := measure.broken_bounds(row, BOUNDS)):
        raise SystemExit(f"benchmarks.cluster_modelling: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
