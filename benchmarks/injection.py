"""Lensed stamps a second: 64 x 64 pixels in three bands, this engine against lenstronomy with 4 x 4 supersampling.

Both render the same lenses (SIE and shear, Sersic, Moffat beta 3.5 per band) with the pixel's integral on top of the
PSF, which is what lenstronomy does. Its full supersampled kernel is used (`supersampling_kernel_size=None`: the
default of 5 never converges), called as its users call it, once a band; `peer_shared_rays` is what it would reach if
it traced the rays once for all three (then `ratio_shared_rays`). Its own b_n is undone by rescaling the radius. Errors
are the largest over pixels and bands of a lens, relative to the peak of the converged image
(benchmarks/reference.py), on lenses drawn from a seed that was not used in tuning: half anywhere in the multiply
imaged region, half on the tangential caustic.

Beside them in the same turns: jaxtronomy, the fastest peer, in float32 with the same settings (`jaxtronomy`,
`ratio_jaxtronomy`), and our own JAX engine, which has derivatives (`ours_jax`), each with its errors on the same
lenses. --gpu measures that engine and jaxtronomy on a GPU, wall seconds, where jax has one.

--quick times the same lenses with fewer repeats and fewer hold-out lenses. --check fails outside ``bounds``: the full
form asks at least 60 times lenstronomy, 15 times jaxtronomy and half of the speed with clumpy sources; --quick asks
less, 30, 10 and 0.4, and its line says so (`check`).
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import math
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

from benchmarks._peers import BETA, FWHM, PIXELS, SCALE, Jaxtronomy, Lenstronomy, in_batches
from benchmarks.reference import converged_images, deflect
from skytrace.imaging.psf import MoffatPsf
from skytrace.lensing import Clumps, LensModel, SourceModel, render_lenses

HOLD_OUT_SEED = 20260724
N_OURS, N_PEER, N_JAX = 1024, 12, 32
N_GPU, GPU_BATCH = 2048, 256
LARGEST_INDEX, CLUMPS = 4.0, 5
STAMP = {"pixels": PIXELS, "pixel_scale_arcsec": SCALE, "psf_includes_pixel": False}
JAXTRONOMY = "jaxtronomy in float32, supersampling 4, full kernel, rays traced once, jit"
ERROR_OF = "peak of the converged image, largest pixel and band of each lens"
#: What --check asks of either form: (lowest, highest). Those of the errors are what is promised for any lens in the
#: range, one of n = 4 on a caustic included.
BOUNDS = {
    "error_p90": (0.0, 1.5e-3), "error_max": (0.0, 1e-2), "ours_jax_error_p90": (0.0, 2e-3),
    "ours_jax_error_max": (0.0, 1e-2), "clumpy_error_p90": (0.0, 2.5e-3), "clumpy_error_max": (0.0, 1e-2),
}  # fmt: skip
#: Of the full form: the ratios that are asked of the engine; clumpy sources within a factor of two of smooth ones.
FULL_BOUNDS = {"ratio": (60.0, math.inf), "ratio_jaxtronomy": (15.0, math.inf), "clumpy_share": (0.5, math.inf)}
#: Of --quick: looser, because fewer repeats on a busy machine scatter more. It catches a collapse, and no more.
QUICK_BOUNDS = {"ratio": (30.0, math.inf), "ratio_jaxtronomy": (10.0, math.inf), "clumpy_share": (0.4, math.inf)}


def bounds(quick: bool) -> dict[str, tuple[float, float]]:
    """What --check asks of this form."""
    return {**BOUNDS, **(QUICK_BOUNDS if quick else FULL_BOUNDS)}


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


def hold_out_errors(lenses: LensModel, sources: SourceModel, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each engine's images (n, band, y, x), per lens the largest error over pixels and bands relative to the band's
    peak: (n,).
    """
    errors = {name: np.zeros(len(lenses)) for name in images}
    for i in range(len(lenses)):
        one, two = parameters(lenses, i), source_parameters(sources, i)
        truth = converged_images(one, two, FWHM, beta=BETA, pixels=PIXELS, scale=SCALE, psf_includes_pixel=False)
        peak = truth.max(axis=(1, 2))
        for name, found in images.items():
            errors[name][i] = (np.abs(found[i] - truth).max(axis=(1, 2)) / peak).max()
    return errors


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


def peer_work(lenses: LensModel, sources: SourceModel, n: int) -> list[tuple[dict, dict]]:
    """The first n lenses and sources as the peers and the reference take them."""
    return [(parameters(lenses, i), source_parameters(sources, i)) for i in range(n)]


def seeing_of(n: int) -> MoffatPsf:
    """The same three PSFs for n lenses."""
    return MoffatPsf(np.tile(FWHM, (n, 1)), BETA)


def seeing_per_host(n: int) -> MoffatPsf:
    """Other PSFs for each of n lenses."""
    return MoffatPsf(FWHM * np.random.default_rng(2).uniform(0.85, 1.15, (n, 1)), BETA)


def jax_columns(models: tuple[LensModel, SourceModel, MoffatPsf], rows: np.ndarray) -> tuple:
    """``rows`` of lenses, sources and PSFs as our JAX engine takes them, float32."""
    from skytrace.lensing.differentiable import parameters_of

    lenses, sources, psf = models
    return parameters_of(lenses.take(rows), sources.take(rows), psf.take(rows))


def jax_images(columns: tuple, *, at_once: int | None) -> np.ndarray:
    """Images of our JAX engine, ``at_once`` lenses together (all by default)."""
    from skytrace.lensing import differentiable

    return np.asarray(differentiable.render_lenses(*columns, batch_size=at_once, **STAMP))


def measure_gpu(*, quick: bool) -> dict:
    """The row of our JAX engine and of jaxtronomy on a GPU, or a row that says why there is none."""
    import jax

    try:
        device = jax.devices("gpu")[0]
    except RuntimeError as error:
        found = ", ".join(sorted({device.platform for device in jax.devices()}))
        why = str(error).splitlines()[0]
        return {
            "name": "injection", "unit": "stamps/s", "device": "unavailable", "ours": None, "peer": None,
            "peer_name": None, "ratio": None,
            "reason": f"jax {jax.__version__} finds no GPU, only {found} ({why}); run without --gpu",
        }  # fmt: skip
    with jax.default_device(device):
        return gpu_row(f"{device.device_kind}, one GPU", n=N_GPU // 4 if quick else N_GPU, repeats=3 if quick else 9)


def gpu_row(device: str, *, n: int, repeats: int, n_errors: int = 32) -> dict:
    """Ours and jaxtronomy on jax's default device in batches of GPU_BATCH, wall seconds from the lenses' parameters on
    the device to the images on the host.
    """
    batch = min(GPU_BATCH, n)
    lenses, sources = draw_lenses(n, seed=1, largest_index=LARGEST_INDEX)
    models, work = (lenses, sources, seeing_per_host(n)), peer_work(lenses, sources, n)
    peer = Jaxtronomy(at_once=(batch, n_errors))
    starts = range(0, n, batch)
    columns = [jax_columns(models, np.arange(start, min(start + batch, n))) for start in starts]
    peer_columns = [peer.columns(work[start : start + batch]) for start in starts]
    seconds, peer_seconds = measure.best_seconds(
        lambda: [jax_images(part, at_once=None) for part in columns],
        lambda: [np.asarray(peer.render[batch](part)) for part in peer_columns],
        repeats=repeats,
        clock=time.perf_counter,
    )
    held = draw_lenses(n_errors, HOLD_OUT_SEED, largest_index=LARGEST_INDEX)
    held_models = (*held, seeing_of(n_errors))
    images = {
        "error": jax_images(jax_columns(held_models, np.arange(n_errors)), at_once=None),
        "peer_error": peer.images(peer_work(*held, n_errors), at_once=n_errors),
    }
    errors = hold_out_errors(*held, images)
    return {
        "name": "injection", "unit": "stamps/s", "ours": n / seconds, "peer": n / peer_seconds,
        "peer_name": JAXTRONOMY, "ratio": peer_seconds / seconds, "device": device,
        "stamp": f"64 x 64 pixels x 3 bands; JAX engine, float32, {batch} lenses at once", "seconds_are": "wall",
        **measure.error_figures(errors["error"]), **measure.error_figures(errors["peer_error"], "peer_error"),
        "error_of": ERROR_OF,
    }  # fmt: skip


def rates(peer: Lenstronomy, jax_peer: Jaxtronomy, *, repeats: int) -> dict[str, float]:
    """Stamps a second of every engine on one thread, all of them timed in turns."""
    lenses, sources = draw_lenses(N_OURS, seed=1, largest_index=LARGEST_INDEX)
    clumpy, per_host = draw_lenses(N_OURS, seed=1, clumps=CLUMPS), seeing_per_host(N_OURS)
    work = peer_work(lenses, sources, N_JAX)
    columns, peer_columns = jax_columns((lenses, sources, per_host), np.arange(N_JAX)), jax_peer.columns(work)

    def batched(at_once: int) -> np.ndarray:
        return np.asarray(jax_peer.render[at_once](peer_columns))

    ours, clumps, theirs, shared, ours_jax, *jaxtronomy = measure.best_seconds(
        lambda: render_lenses(lenses, sources, per_host, **STAMP),
        lambda: render_lenses(*clumpy, per_host, **STAMP),
        lambda: [peer.images(*pair) for pair in work[:N_PEER]],
        lambda: [peer.images_shared(*pair) for pair in work[:N_PEER]],
        lambda: jax_images(columns, at_once=1),
        *(partial(batched, at_once) for at_once in jax_peer.render),
        repeats=repeats,
    )
    return {
        "ours": N_OURS / ours, "clumpy": N_OURS / clumps, "peer": N_PEER / theirs, "shared": N_PEER / shared,
        "ours_jax": N_JAX / ours_jax, "jaxtronomy": N_JAX / min(jaxtronomy),
    }  # fmt: skip


def _check_words(*, quick: bool) -> str:
    """What --check asks of the ratios in this form; the loose one names what the full form asks."""
    asked, full = bounds(quick), bounds(quick=False)
    words = ", ".join(
        f"{name} >= {asked[name][0]:g}" + f" (full form: {full[name][0]:g})" * quick for name in FULL_BOUNDS
    )
    return f"{'loose bounds of --quick' if quick else 'bounds of the full form'}: {words}"


def main() -> None:
    options = measure.arguments(__doc__)
    if options.gpu:
        measure.print_line(**measure_gpu(quick=options.quick))
        return
    device = measure.one_thread()
    repeats, n_errors = (3, 32) if options.quick else (9, 96)
    peer, jax_peer = Lenstronomy(), Jaxtronomy(at_once=(1, 8))
    measure.note("compiling, then timing skytrace, lenstronomy and jaxtronomy in turns")
    rate = rates(peer, jax_peer, repeats=repeats)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in rate.items())
    measure.note(f"stamps/s: {shown}; {n_errors} hold-out lenses against the converged image")
    held, seeing = draw_lenses(n_errors, HOLD_OUT_SEED, largest_index=LARGEST_INDEX), seeing_of(n_errors)
    work = peer_work(*held, n_errors)
    images = {
        "error": render_lenses(*held, seeing, **STAMP),
        "peer_error": np.stack([peer.images(*pair) for pair in work]),
        "jaxtronomy_error": jax_peer.images(work, at_once=1, batch=N_JAX),
        "ours_jax_error": in_batches(
            lambda rows: jax_images(jax_columns((*held, seeing), rows), at_once=1), n_errors, N_JAX
        ),
    }
    errors = hold_out_errors(*held, images)
    held_clumpy = draw_lenses(n_errors // 2, HOLD_OUT_SEED + 1, clumps=CLUMPS)
    clumpy_images = {"clumpy_error": render_lenses(*held_clumpy, seeing_of(n_errors // 2), **STAMP)}
    clumpy_error = hold_out_errors(*held_clumpy, clumpy_images)["clumpy_error"]
    row = measure.print_line(
        name="injection", unit="stamps/s/core", ours=rate["ours"], peer=rate["peer"],
        peer_name="lenstronomy, supersampling 4, full kernel", ratio=rate["ours"] / rate["peer"],
        peer_shared_rays=rate["shared"], ratio_shared_rays=rate["ours"] / rate["shared"],
        threads=1, device=device, stamp="64 x 64 pixels x 3 bands; ours with another PSF for every host and band",
        **measure.error_figures(errors["error"]), **measure.error_figures(errors["peer_error"], "peer_error"),
        error_of=ERROR_OF,
        hold_out=f"{n_errors} lenses, seed {HOLD_OUT_SEED}, half on the tangential caustic, not used in tuning; "
        f"Sersic indices 0.6 to {LARGEST_INDEX:g}",
        error_by=error_table(*held, errors["error"]),
        clumpy=rate["clumpy"], clumpy_share=rate["clumpy"] / rate["ours"],
        **measure.error_figures(clumpy_error, "clumpy_error"),
        clumpy_of=f"{CLUMPS} Gaussian clumps of 0.03 to 0.08 arcsec a source; {n_errors // 2} hold-out lenses",
        clumpy_error_by=error_table(*held_clumpy, clumpy_error),
        jaxtronomy=rate["jaxtronomy"], ratio_jaxtronomy=rate["ours"] / rate["jaxtronomy"],
        jaxtronomy_is=f"{JAXTRONOMY}; the faster of lax.map and 8 lenses at once",
        **measure.error_figures(errors["jaxtronomy_error"], "jaxtronomy_error"),
        ours_jax=rate["ours_jax"], **measure.error_figures(errors["ours_jax_error"], "ours_jax_error"),
        memory_kept=measure.MEMORY_IS_KEPT, check=_check_words(quick=options.quick),
    )  # fmt: skip
    if options.check and (broken := measure.broken_bounds(row, bounds(options.quick))):
        raise SystemExit(
            f"benchmarks.injection: {'; '.join(broken)} (ratio {row['ratio']:.4g}, error_p90 {row['error_p90']:.2g})"
        )


if __name__ == "__main__":
    main()
