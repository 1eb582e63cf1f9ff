"""Lensed stamps a second: 64 x 64 pixels in three bands, this engine against lenstronomy with 4 x 4 supersampling.

Both render the same lenses (SIE and shear, Sersic, Moffat beta 3.5 per band) with the pixel's integral on top of the
PSF, which is what lenstronomy does. Its full supersampled kernel is used (`supersampling_kernel_size=None`: the
default of 5 never converges), called as its users call it, once a band; `peer_shared_rays` is what it would reach if
it traced the rays once for all three (then `ratio_shared_rays`). Its own b_n is undone by rescaling the radius. Errors
are the largest over pixels and bands of a lens, relative to the peak of the converged image
(benchmarks/reference.py), on lenses drawn from a seed that was not used in tuning: half anywhere in the multiply
imaged region, half on the tangential caustic. --quick times the same lenses with fewer repeats and fewer hold-out
lenses. --check fails outside BOUNDS.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

from benchmarks.reference import converged_images, deflect
from skytrace.imaging.psf import MoffatPsf
from skytrace.lensing import Clumps, LensModel, SourceModel, render_lenses

PIXELS, SCALE, BETA = 64, 0.262, 3.5
FWHM = np.array([1.35, 1.20, 1.10])
HOLD_OUT_SEED = 20260724
SUPERSAMPLING = 4
KERNEL_PIXELS = 41
N_OURS, N_PEER = 1024, 12
LARGEST_INDEX, CLUMPS = 4.0, 5
#: What --check asks of either form: (lowest, highest). The ratio's bound leaves room for a busy machine; those of the
#: errors are what is promised for any lens in the range, one of n = 4 on a caustic included.
BOUNDS = {
    "ratio": (30.0, math.inf), "error_p90": (0.0, 1.5e-3), "error_max": (0.0, 1e-2),
    "clumpy_share": (0.4, math.inf), "clumpy_error_p90": (0.0, 2.5e-3), "clumpy_error_max": (0.0, 1e-2),
}  # fmt: skip


def draw_lenses(n: int, seed: int, *, largest_index: float = 2.5, clumps: int = 0) -> tuple[LensModel, SourceModel]:
    """n lenses over the whole grid's range; every second source lies within 0.01 theta_E of the tangential caustic.

    largest_index: Sersic indices reach from 0.6 to here. clumps: as many in each source hold 3 to 10 % of its light
    each.
    """
    rng = np.random.default_rng(seed)
    theta_e, q, phi = rng.uniform(0.5, 3.0, n), rng.uniform(0.5, 0.95, n), rng.uniform(0.0, np.pi, n)
    shear, angle = np.abs(rng.normal(0.0, 0.04, n)), rng.uniform(0.0, 2 * np.pi, n)
    lenses = LensModel(theta_e, q, phi, 0.0, 0.0, shear * np.cos(angle), shear * np.sin(angle))
    radius, turn = np.sqrt(rng.uniform(0.0, 1.0, n)) * 0.7 * theta_e, rng.uniform(0.0, 2 * np.pi, n)
    x, y = radius * np.cos(turn), radius * np.sin(turn)
    on_caustic = tangential_caustic(lenses, turn)
    step = rng.normal(0.0, 0.01, n) * theta_e
    every_second = np.arange(n) % 2 == 1
    x = np.where(every_second, on_caustic[0] + step, x)
    y = np.where(every_second, on_caustic[1] - step, y)
    sources = SourceModel(
        np.ones((n, len(FWHM))), x, y, rng.uniform(0.12, 0.45, n),
        rng.uniform(0.6, largest_index, n),
        rng.uniform(0.3, 0.95, n), rng.uniform(0.0, np.pi, n),
    )  # fmt: skip
    if clumps:
        share, dx, dy, sigma = (
            rng.uniform(*limits, (n, clumps)) for limits in ((0.03, 0.1), (-0.3, 0.3), (-0.3, 0.3), (0.03, 0.08))
        )
        sources = replace(sources, clumps=Clumps(share, dx, dy, sigma))
    return lenses, sources


def tangential_caustic(lenses: LensModel, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The source position whose image in direction ``angle`` is on the critical curve, found by bisection in radius."""
    low, high = np.full(len(lenses), 1e-3), 3.0 * lenses.theta_e_arcsec + 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        inside = np.array([_determinant(parameters(lenses, i), middle[i], angle[i]) < 0 for i in range(len(lenses))])
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    found = [
        deflect(low[i] * np.cos(angle[i]), low[i] * np.sin(angle[i]), **parameters(lenses, i))
        for i in range(len(lenses))
    ]
    x, y = np.array(found).T
    return x, y


def _determinant(lens: dict, radius: float, angle: float, step: float = 1e-4) -> float:
    """Sign of det(d beta / d theta), by differences."""
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    (ax, ay), (bx, by) = deflect(x + step, y, **lens), deflect(x - step, y, **lens)
    (cx, cy), (dx, dy) = deflect(x, y + step, **lens), deflect(x, y - step, **lens)
    return (ax - bx) * (cy - dy) - (ay - by) * (cx - dx)


def parameters(lenses: LensModel, i: int) -> dict[str, float]:
    """Lens i as the reference takes it."""
    return {
        "theta_e": float(lenses.theta_e_arcsec[i]), "q": float(lenses.q[i]), "phi": float(lenses.phi_rad[i]),
        "center_x": float(np.asarray(lenses.center_x_arcsec)[i]), "center_y":
        float(np.asarray(lenses.center_y_arcsec)[i]), "gamma1": float(np.asarray(lenses.gamma1)[i]), "gamma2":
        float(np.asarray(lenses.gamma2)[i]), "gamma_epl": float(np.asarray(lenses.gamma_epl)[i]),
    }  # fmt: skip


def source_parameters(sources: SourceModel, i: int) -> dict:
    """Source i as the reference takes it."""
    found: dict = {
        "x": float(sources.x_arcsec[i]), "y": float(sources.y_arcsec[i]), "re":
        float(sources.half_light_radius_arcsec[i]), "n": float(sources.sersic_index[i]), "q": float(sources.q[i]),
        "phi": float(sources.phi_rad[i]),
    }  # fmt: skip
    if sources.clumps is not None:
        clumps = sources.clumps
        found["clumps"] = [
            (float(f), float(dx), float(dy), float(sigma))
            for f, dx, dy, sigma in zip(
                clumps.flux_fraction[i], clumps.dx_arcsec[i], clumps.dy_arcsec[i], clumps.sigma_arcsec[i], strict=True
            )
        ]
    return found


class Lenstronomy:
    """The peer: one image model a band, built once; ``images`` renders one lens by its documented call for each band.

    ``images_shared`` traces rays and evaluates the source once for all bands, which its image model does not offer.
    """

    def __init__(self) -> None:
        from lenstronomy.Data.imaging_data import ImageData
        from lenstronomy.Data.psf import PSF
        from lenstronomy.ImSim.image_model import ImageModel
        from lenstronomy.LensModel.lens_model import LensModel as PeerLens
        from lenstronomy.LightModel.light_model import LightModel

        corner = -(PIXELS // 2) * SCALE
        grid = ImageData(
            image_data=np.zeros((PIXELS, PIXELS)), transform_pix2angle=np.eye(2) * SCALE,
            ra_at_xy_0=corner, dec_at_xy_0=corner, background_rms=1.0, exposure_time=1.0,
        )  # fmt: skip
        options = {
            "supersampling_factor": SUPERSAMPLING, "supersampling_convolution": True, "supersampling_kernel_size": None,
        }  # fmt: skip
        self.lens, self.light = PeerLens(["SIE", "SHEAR"]), LightModel(["SERSIC_ELLIPSE"])
        self.bands = [
            ImageModel(
                grid,
                PSF("PIXEL", kernel_point_source=self._kernel(width), pixel_size=SCALE,
                    point_source_supersampling_factor=SUPERSAMPLING),
                lens_model_class=self.lens, source_model_class=self.light, kwargs_numerics=options,
            )
            for width in FWHM
        ]  # fmt: skip

    @staticmethod
    def _kernel(width: float) -> np.ndarray:
        half = (KERNEL_PIXELS * SUPERSAMPLING) // 2
        axis = np.arange(-half, half + 1) * SCALE / SUPERSAMPLING
        alpha = width / (2 * np.sqrt(2 ** (1 / BETA) - 1))
        kernel = (1 + (axis[:, None] ** 2 + axis**2) / alpha**2) ** -BETA
        return kernel / kernel.sum()

    @staticmethod
    def arguments(lens: dict, source: dict) -> tuple[list[dict], list[dict]]:
        """Lens and source in its conventions; its b_n = 1.9992 n - 0.3271 undone by another radius."""
        from scipy.special import gamma, gammaincinv

        e = (1 - lens["q"]) / (1 + lens["q"])
        peer_lens = [
            {"theta_E": lens["theta_e"], "e1": e * np.cos(2 * lens["phi"]), "e2": e * np.sin(2 * lens["phi"]),
             "center_x": lens["center_x"], "center_y": lens["center_y"]},
            {"gamma1": lens["gamma1"], "gamma2": lens["gamma2"], "ra_0": 0.0, "dec_0": 0.0},
        ]  # fmt: skip
        n, e = source["n"], (1 - source["q"]) / (1 + source["q"])
        b, peer_b = gammaincinv(2 * n, 0.5), 1.9992 * n - 0.3271
        flux = 2 * np.pi * n * source["re"] ** 2 * np.exp(b) * b ** (-2 * n) * gamma(2 * n)
        peer_source = [{
            "amp": np.exp(b - peer_b) / flux, "R_sersic": source["re"] * (peer_b / b) ** n, "n_sersic": n,
            "e1": e * np.cos(2 * source["phi"]), "e2": e * np.sin(2 * source["phi"]),
            "center_x": source["x"], "center_y": source["y"],
        }]  # fmt: skip
        return peer_lens, peer_source

    def images(self, lens: dict, source: dict) -> np.ndarray:
        """Images (band, y, x) of a unit-flux source."""
        peer_lens, peer_source = self.arguments(lens, source)
        return np.stack([band.image(peer_lens, peer_source) for band in self.bands])

    def images_shared(self, lens: dict, source: dict) -> np.ndarray:
        """The same images with the rays traced once."""
        peer_lens, peer_source = self.arguments(lens, source)
        grid = self.bands[0].ImageNumerics.coordinates_evaluate
        light = self.light.surface_brightness(*self.lens.ray_shooting(*grid, peer_lens), peer_source)
        return np.stack([band.ImageNumerics.re_size_convolve(light, unconvolved=False) for band in self.bands])


def hold_out_errors(lenses: LensModel, sources: SourceModel, peer: Lenstronomy | None) -> tuple[np.ndarray, np.ndarray]:
    """Per lens, the largest error over pixels and bands relative to the band's peak: ours (n,), the peer's (n,)."""
    n = len(lenses)
    psf = MoffatPsf(np.tile(FWHM, (n, 1)), BETA)
    ours = render_lenses(lenses, sources, psf, pixels=PIXELS, pixel_scale_arcsec=SCALE, psf_includes_pixel=False)
    errors = np.zeros((2, n))
    for i in range(n):
        one, two = parameters(lenses, i), source_parameters(sources, i)
        truth = converged_images(one, two, FWHM, beta=BETA, pixels=PIXELS, scale=SCALE, psf_includes_pixel=False)
        peak = truth.max(axis=(1, 2))
        errors[0, i] = (np.abs(ours[i] - truth).max(axis=(1, 2)) / peak).max()
        if peer is not None:
            errors[1, i] = (np.abs(peer.images(one, two) - truth).max(axis=(1, 2)) / peak).max()
    return errors[0], errors[1]


def error_table(lenses: LensModel, sources: SourceModel, errors: np.ndarray) -> dict[str, list[dict[str, float]]]:
    """Errors in thirds of the hold-out lenses by what they differ in: bounds, number, median, p90 and maximum."""
    columns = {
        "sersic_index": sources.sersic_index, "half_light_radius_arcsec": sources.half_light_radius_arcsec,
        "source_q": sources.q, "lens_q": lenses.q, "theta_e_arcsec": lenses.theta_e_arcsec,
    }  # fmt: skip
    table = {}
    for name, values in columns.items():
        parts = np.array_split(np.argsort(values), 3)
        table[name] = [
            {"low": round(float(values[part].min()), 3), "high": round(float(values[part].max()), 3), "n": len(part)}
            | {key: float(f"{value:.2g}") for key, value in measure.error_figures(errors[part]).items()}
            for part in parts
        ]
    return table


def main() -> None:
    options = measure.arguments(__doc__)
    if options.gpu:
        measure.print_line(
            name="injection", unit="stamps/s", device="unavailable", ours=None, peer=None, peer_name=None, ratio=None,
            reason="no GPU engine of the lens renderer exists yet; run without --gpu",
        )  # fmt: skip
        return
    device = measure.one_thread()
    repeats, n_errors = (3, 32) if options.quick else (9, 96)
    lenses, sources = draw_lenses(N_OURS, seed=1, largest_index=LARGEST_INDEX)
    clumpy_lenses, clumpy_sources = draw_lenses(N_OURS, seed=1, clumps=CLUMPS)
    rng = np.random.default_rng(2)
    per_host = MoffatPsf(FWHM * rng.uniform(0.85, 1.15, (N_OURS, 1)), BETA)
    peer = Lenstronomy()
    work = [(parameters(lenses, i), source_parameters(sources, i)) for i in range(N_PEER)]
    stamp = {"pixels": PIXELS, "pixel_scale_arcsec": SCALE, "psf_includes_pixel": False}
    measure.note("compiling, then timing skytrace and lenstronomy in turns")
    seconds, clumpy_seconds, peer_seconds, shared_seconds = measure.best_seconds(
        lambda: render_lenses(lenses, sources, per_host, **stamp),
        lambda: render_lenses(clumpy_lenses, clumpy_sources, per_host, **stamp),
        lambda: [peer.images(*pair) for pair in work],
        lambda: [peer.images_shared(*pair) for pair in work],
        repeats=repeats,
    )
    ours, theirs, shared = N_OURS / seconds, N_PEER / peer_seconds, N_PEER / shared_seconds
    measure.note(f"{ours:.0f} and {theirs:.1f} stamps/s; {n_errors} hold-out lenses against the converged image")
    held = draw_lenses(n_errors, HOLD_OUT_SEED, largest_index=LARGEST_INDEX)
    error, peer_error = hold_out_errors(*held, peer)
    held_clumpy = draw_lenses(n_errors // 2, HOLD_OUT_SEED + 1, clumps=CLUMPS)
    clumpy_error, _ = hold_out_errors(*held_clumpy, None)
    row = measure.print_line(
        name="injection", unit="stamps/s/core", ours=ours, peer=theirs,
        peer_name="lenstronomy, supersampling 4, full kernel", ratio=ours / theirs,
        peer_shared_rays=shared, ratio_shared_rays=ours / shared,
        threads=1, device=device, stamp="64 x 64 pixels x 3 bands; ours with another PSF for every host and band",
        **measure.error_figures(error), **measure.error_figures(peer_error, "peer_error"),
        error_of="peak of the converged image, largest pixel and band of each lens",
        hold_out=f"{n_errors} lenses, seed {HOLD_OUT_SEED}, half on the tangential caustic, not used in tuning; "
        f"Sersic indices 0.6 to {LARGEST_INDEX:g}",
        error_by=error_table(*held, error),
        clumpy=N_OURS / clumpy_seconds, clumpy_share=seconds / clumpy_seconds,
        **measure.error_figures(clumpy_error, "clumpy_error"),
        clumpy_of=f"{CLUMPS} Gaussian clumps of 0.03 to 0.08 arcsec a source; {n_errors // 2} hold-out lenses",
        clumpy_error_by=error_table(*held_clumpy, clumpy_error),
        jaxtronomy=None, jaxtronomy_reason="not among the locked packages, so not measured here",
        memory_kept=measure.MEMORY_IS_KEPT,
    )  # fmt: skip
    if options.check and (broken := measure.broken_bounds(row, BOUNDS)):
        raise SystemExit(
            f"benchmarks.injection: {'; '.join(broken)} (ratio {row['ratio']:.4g}, error_p90 {row['error_p90']:.2g})"
        )


if __name__ == "__main__":
    main()
