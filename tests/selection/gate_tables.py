"""Arcs as numbers, stamps with rings, scores of hosts: one universe for both sides of a comparison; faults in it."""

import numpy as np
import pandas as pd

from skytrace.selection.realism import (
    GATE_NAMES,
    ComparisonSettings,
    GateOptions,
    GateResult,
    background_pixels,
    comparison_sample,
    gate_arc_colour,
    gate_arc_snr,
    gate_background,
    gate_parity,
    realism_report,
)

OPTIONS = GateOptions(n_null=100, background_resamples=50)


def arcs(n, *, seed, discovered=False, brighter=1.0, redder=0.0):
    """Arcs of one universe: fainter in shallow and blurred sky, log-normal in flux, with colours and noise.

    discovered: as anchors are, from large theta_E and good sky; otherwise evenly over the grid.
    """
    rng = np.random.default_rng(seed)
    theta = rng.choice(np.arange(0.5, 3.01, 0.25), n)
    psf = rng.choice(np.arange(0.9, 1.81, 0.15), n)
    depth = rng.choice(np.arange(22.5, 24.51, 0.5), n)
    if discovered:
        theta = np.clip(rng.normal(1.7, 0.4, n), 0.5, 3.0)
        psf, depth = np.clip(rng.normal(1.15, 0.12, n), 0.9, 1.8), np.clip(rng.normal(23.7, 0.3, n), 22.5, 24.5)
    flux = brighter * 10 ** rng.normal(0.3 + 0.3 * (theta - 1.5), 0.35)
    sigma = 10 ** (-0.4 * (depth - 23.0)) * (psf / 1.2) / 6.0
    g_r, r_z = rng.normal(0.3, 0.25, n) + redder, rng.normal(0.4, 0.3, n)
    fluxes = {"g": flux * 10 ** (-0.4 * g_r), "r": flux, "z": flux * 10 ** (0.4 * r_z)}
    noisy = {band: value + sigma * rng.normal(size=n) for band, value in fluxes.items()}
    table = pd.DataFrame({"theta_e": theta, "psf_fwhm": psf, "depth": depth, "arc_snr": noisy["r"] / sigma})
    return table.assign(injected_snr=flux / sigma, **{f"arc_flux_{band}": value for band, value in noisy.items()})


def stamps(extra_noise=0.0, seed=0, n=40):
    """Hosts in white noise, the same with a faint ring injected (and, if asked, with sky noise added once more)."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((64, 64)) - 32
    r = np.hypot(x, y) * 0.262
    sigma = rng.uniform(0.01, 0.03, (n, 3))[..., None, None]
    host = (np.exp(-r / 0.5) + sigma * rng.normal(size=(n, 3, 64, 64))).astype(np.float32)
    ring = 0.05 * np.exp(-0.5 * ((r - 1.5) / 0.4) ** 2)
    after = host + ring + extra_noise * sigma * rng.normal(size=host.shape)
    invvar = np.broadcast_to(1 / sigma**2, host.shape).astype(np.float32)
    return host, after.astype(np.float32), invvar, sigma[..., 0, 0]


def background(extra_noise=0.0, seed=0):
    host, after, invvar, sigma = stamps(extra_noise, seed)
    return background_pixels(
        host, after, invvar, theta_e_arcsec=1.5, fwhm_arcsec=1.0, sigma_pix_nmgy=sigma, options=OPTIONS
    )


def parity(n=300, seed=1):
    score = np.random.default_rng(seed).random(n)
    return pd.DataFrame(
        {"host_score": score, "zero_score": score, "category": np.where(np.arange(n) % 3, "", "spiral_proxy")}
    )


def report(anchors, injections, sky=None, scores=None, options=OPTIONS, **others):
    """Gates 1, 2, 3 and 7 of these tables; the other four as ``others`` says, by number: their status."""
    sample = comparison_sample(anchors, injections, options=options)
    stated = {"4": "reported", "5": "pass", "6": "reported", "8": "pass"}
    stated |= {key.removeprefix("gate_"): status for key, status in others.items()}
    gates = [
        gate_arc_snr(sample, options=options),
        gate_background(background() if sky is None else sky, options=options),
        gate_arc_colour(sample, options=options),
        gate_parity(parity() if scores is None else scores, threshold=0.9, options=options),
        *(GateResult(GATE_NAMES[int(n) - 1], status, {}, {"n": n}, 0, 0, "Stated.") for n, status in stated.items()),
    ]
    return realism_report(gates, sample, threshold=0.9, options=options, settings=ComparisonSettings())


INJECTIONS = arcs(20_000, seed=0)


def statuses(result):
    return {gate["name"]: gate["status"] for gate in result["gates"]}
