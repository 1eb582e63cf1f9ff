"""Cutouts a second through every quality column: 101 x 101 pixels in three bands with inverse variance and mask bits.

Ours is ``skytrace.imaging.quality.cutout_quality`` on a batch. The reference is the same definitions as a user writes
them for one plane with numpy, scipy and scikit-image: self-contained functions, NaN where there is no data, called for
each band of each cutout. ``reference_tabulated`` is that code tuned by hand as far as a loop over cutouts goes: radii,
masks and soft apertures worked out once for all cutouts, gaps looked at only where there are any, the filters on the
central 49 x 49 pixels (``ratio_tabulated``, the number to quote for somebody who already took that trouble). Both must
agree with ours in every column, NaN for NaN, on cutouts with gaps, a missing band and no background; a disagreement
ends the run.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import os
import sys
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.filters import difference_of_gaussians

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

from skytrace.imaging.psf import MoffatPsf
from skytrace.imaging.quality import QUALITY_COLUMNS, cutout_quality
from skytrace.surveys.interface import BANDS, CutoutBatch

SIZE, N_OURS, N_REFERENCE = 101, 256, 32
#: Figure -> (lowest, highest) that ``--check`` allows.
BOUNDS = {"ours": (2000.0, np.inf), "ratio": (30.0, np.inf), "error_max": (0.0, 1e-4)}
SATURATED_BIT = {"g": 2, "r": 3, "z": 4}


def draw_cutouts(n: int, seed: int) -> CutoutBatch:
    """Galaxies with a cusp, half of them with an arc, on a sky of 0.01-0.05; of 32 cutouts, six have a defect each."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    scale, flux = rng.uniform(1.5, 5.0, (n, 1, 1, 1)), 10 ** rng.uniform(-1.0, 0.5, (n, 3, 1, 1))
    image = flux * (1.0 + (radius / scale) ** 2) ** -1.5
    arc = np.exp(-0.5 * ((radius - rng.uniform(5.0, 14.0, (n, 1, 1, 1))) / 1.5) ** 2) * (np.abs(angle) < 0.8)
    image += 0.1 * arc * (np.arange(n) % 2)[:, None, None, None]
    noise = rng.uniform(0.005, 0.02, (n, 3, 1, 1))
    image = (image + rng.uniform(0.01, 0.05, (n, 3, 1, 1)) + rng.normal(0.0, 1.0, image.shape) * noise).astype("f4")
    invvar = np.broadcast_to(noise**-2.0, image.shape).astype("f4")
    maskbits = np.zeros((n, SIZE, SIZE), dtype=np.int32)
    image[1::32, :, 20:23] = np.nan  # a bleed trail
    invvar[2::32] *= rng.random((len(invvar[2::32]), 3, SIZE, SIZE)) > 0.1
    invvar[3::32, :, :, 70:] = 0.0  # the edge of a field
    invvar[4::32, 0] = 0.0  # no g band
    maskbits[5::32, 48:53, 48:53] = 2 << 2  # a saturated core in r
    image[6::32, 2] = 0.5  # no background scale in z
    return CutoutBatch(
        np.array([f"c{i}" for i in range(n)]), image, invvar, maskbits, MoffatPsf(np.full((n, 3), 1.2))
    )  # fmt: skip


def reference(image: np.ndarray, invvar: np.ndarray, maskbits: np.ndarray) -> dict[str, float]:
    """The columns of one cutout (band, y, x)."""
    row: dict[str, float] = {}
    for pixels, weights, band in zip(image, invvar, BANDS, strict=True):
        data = np.where((weights > 0) & np.isfinite(pixels), pixels, np.nan)
        radius = radii(data.shape)
        median, mad = background(data, radius)
        here = {
            **gaps(pixels, data, radius),
            **brightness(data, data - median, radius),
            **structure(data - median, 1.4826 * mad, radius),
            "background_median": median if mad > 0 else np.nan,
            "background_mad": mad,
            "saturated_fraction": np.mean(maskbits & (1 << SATURATED_BIT[band]) > 0),
        }
        row |= {f"{name}_{band}": value for name, value in here.items()}
    return row | colours(row)


def background(data: np.ndarray, radius: np.ndarray) -> tuple[float, float]:
    """Median and median absolute deviation of the outer annulus; NaN for pixels without data, and without 50 others."""
    sky = data[(radius >= 36) & (radius <= 50)]
    if np.count_nonzero(np.isfinite(sky)) < 50:
        return 0.0, np.nan
    median = np.nanmedian(sky)
    mad = np.nanmedian(np.abs(sky - median))
    return float(median), float(mad) if mad > 0 else np.nan


def radii(shape: tuple[int, int]) -> np.ndarray:
    """Distance of every pixel from the centre."""
    y, x = np.indices(shape)
    return np.hypot(x - shape[1] // 2, y - shape[0] // 2)


def gaps(pixels: np.ndarray, data: np.ndarray, radius: np.ndarray) -> dict[str, float]:
    """Where pixels without data (NaN) are."""
    gap, core = np.isnan(data), radius <= 8
    frame = np.ones(data.shape, dtype=bool)
    frame[5:-5, 5:-5] = False
    middle = slice(SIZE // 2 - 25, SIZE // 2 + 25)
    return {
        "nan_fraction": gap.mean(),
        "nan_fraction_centre": gap[middle, middle].mean(),
        "nan_fraction_core": gap[core].mean(),
        "core_zero_invvar": np.mean(np.isfinite(pixels[core]) & gap[core]),
        "band_present": float(not gap.all()),
        "edge_score": gap[frame].mean() - gap[~frame].mean(),
    }


def brightness(data: np.ndarray, light: np.ndarray, radius: np.ndarray) -> dict[str, float]:
    """Percentiles, apertures and gradient."""
    gap = np.isnan(data)
    percentiles = np.full(3, np.nan) if gap.all() else np.nanpercentile(data.astype(float), [1, 50, 99])
    found = dict(zip(("percentile_1", "percentile_50", "percentile_99"), percentiles, strict=True))
    for outer in (4, 8, 12):
        weight = np.clip(outer - radius + 0.5, 0, 1)
        found[f"core_flux_{outer}"] = np.nansum(weight * light) if (~gap & (weight > 0)).any() else np.nan
    for inner, outer in ((4, 16), (16, 28)):
        weight = np.clip(outer - radius + 0.5, 0, 1) * np.clip(radius - inner + 0.5, 0, 1)
        area = weight[~gap].sum()
        found[f"annulus_{inner}_{outer}"] = np.nansum(weight * light) / area if area > 0 else np.nan
    inside, outside = light[~gap & (radius < 4)], light[~gap & (radius >= 8) & (radius < 12)]
    steep = len(inside) and len(outside)
    found["radial_gradient"] = (inside.mean(dtype=float) - outside.mean(dtype=float)) / 8 if steep else np.nan
    return found


def structure(light: np.ndarray, sigma: float, radius: np.ndarray) -> dict[str, float]:
    """Difference-of-Gaussians energies and azimuthal asymmetry."""
    core, annulus = radius <= 8, (radius > 4) & (radius <= 16)
    square = difference_of_gaussians(np.nan_to_num(light).astype(float), 1.0, 2.0) ** 2
    ring = radius.astype(int)
    index = np.arange(17)
    with np.errstate(invalid="ignore"):
        profile = ndimage.mean(np.nan_to_num(light), np.where(np.isnan(light), -1, ring), index)
    residual = light[annulus] - profile[ring[annulus]]
    known = np.isfinite(residual).any()
    return {
        "dog_core": square[core].mean() / sigma**2,
        "dog_annulus": square[annulus].mean() / sigma**2,
        "asymmetry": np.sqrt(np.nanmean(residual**2, dtype=float)) / sigma if known else np.nan,
    }


def colours(row: dict[str, float]) -> dict[str, float]:
    """g - r and r - z of the annulus minus those of the core [mag]; NaN where a flux is not positive."""
    with np.errstate(invalid="ignore", divide="ignore"):
        inside, outside = (
            [-2.5 * np.log10(max(row[f"{name}_{band}"], 0.0) or np.nan) for band in BANDS]
            for name in ("core_flux_4", "annulus_4_16")
        )
    g, r, z = np.subtract(outside, inside)
    return {"g_minus_r": g - r, "r_minus_z": r - z}


class Tabulated:
    """The reference with everything that depends on the size alone worked out beforehand."""

    def __init__(self) -> None:
        y, x = np.indices((SIZE, SIZE)) - SIZE // 2
        radius = np.hypot(x, y).ravel()
        self.core, self.background = np.flatnonzero(radius <= 8), np.flatnonzero((radius >= 36) & (radius <= 50))
        frame = np.ones((SIZE, SIZE), dtype=bool)
        frame[5:-5, 5:-5] = False
        self.frame, self.rest = np.flatnonzero(frame), np.flatnonzero(~frame)
        self.apertures = {}
        for name, inner, outer in (
            ("core_flux_4", -1, 4), ("core_flux_8", -1, 8), ("core_flux_12", -1, 12),
            ("annulus_4_16", 4, 16), ("annulus_16_28", 16, 28),
        ):  # fmt: skip
            weight = np.clip(outer - radius + 0.5, 0, 1) * np.clip(radius - inner + 0.5, 0, 1)
            self.apertures[name] = np.flatnonzero(weight), weight[weight > 0]
        self.ringed = np.flatnonzero(radius < 17)
        self.ring = radius[self.ringed].astype(int)
        self.arcs = (radius[self.ringed] > 4) & (radius[self.ringed] <= 16)
        small = np.hypot(*(np.indices((49, 49)) - 24))
        self.small_core, self.small_annulus = small <= 8, (small > 4) & (small <= 16)

    def __call__(self, image: np.ndarray, invvar: np.ndarray, maskbits: np.ndarray) -> dict[str, float]:
        row: dict[str, float] = {}
        for k, band in enumerate(BANDS):
            pixels, good = image[k].ravel(), (np.isfinite(image[k]) & (invvar[k] > 0)).ravel()
            n_good = np.count_nonzero(good)
            here = dict.fromkeys(QUALITY_COLUMNS[:6], 0.0) | {"band_present": float(n_good > 0)}
            if n_good < good.size:
                core = good[self.core]
                here |= {
                    "nan_fraction": 1 - n_good / good.size,
                    "nan_fraction_centre": 1 - good.reshape(SIZE, SIZE)[25:75, 25:75].mean(),
                    "nan_fraction_core": 1 - core.mean(),
                    "core_zero_invvar": np.mean(np.isfinite(pixels[self.core]) & ~core),
                    "edge_score": good[self.rest].mean() - good[self.frame].mean(),
                }
            here["saturated_fraction"] = np.count_nonzero(maskbits & (1 << SATURATED_BIT[band])) / good.size
            sky = pixels[self.background][good[self.background]]
            median = np.median(sky) if len(sky) >= 50 else 0.0
            mad = np.median(np.abs(sky - median)) if len(sky) >= 50 else 0.0
            sigma = 1.4826 * mad if mad > 0 else np.nan
            here |= {"background_median": median if mad > 0 else np.nan, "background_mad": mad if mad > 0 else np.nan}
            used = pixels if n_good == good.size else pixels[good]
            ranks = np.percentile(used.astype(float), [1, 50, 99]) if n_good else [np.nan] * 3
            here |= dict(zip(("percentile_1", "percentile_50", "percentile_99"), ranks, strict=True))
            light = np.where(good, pixels - median, 0.0).astype(float)
            for name, (index, weight) in self.apertures.items():
                total, area = weight @ light[index], weight @ good[index]
                here[name] = np.nan if area == 0 else total if name.startswith("core") else total / area
            here |= self._structure(light, good, sigma)
            row |= {f"{name}_{band}": value for name, value in here.items()}
        return row | colours(row)

    def _structure(self, light: np.ndarray, good: np.ndarray, sigma: float) -> dict[str, float]:
        centre = light.reshape(SIZE, SIZE)[26:75, 26:75]
        square = (ndimage.gaussian_filter(centre, 1.0) - ndimage.gaussian_filter(centre, 2.0)) ** 2
        value, has = light[self.ringed], good[self.ringed]
        total, count = np.bincount(self.ring, value, 17), np.bincount(self.ring, has, 17)
        inner, outer = count[:4].sum(), count[8:12].sum()
        gradient = (total[:4].sum() / inner - total[8:12].sum() / outer) / 8 if inner and outer else np.nan
        used = self.arcs & has
        residual = value[used] - (total / np.maximum(count, 1))[self.ring[used]]
        return {
            "dog_core": square[self.small_core].mean() / sigma**2,
            "dog_annulus": square[self.small_annulus].mean() / sigma**2,
            "radial_gradient": gradient,
            "asymmetry": np.sqrt(np.mean(residual**2)) / sigma if residual.size else np.nan,
        }


def differences(ours, rows: list[dict[str, float]]) -> dict[str, float]:
    """``measure.largest_differences`` by column, all bands together."""
    names = {f"{name}_{band}": name for name in QUALITY_COLUMNS for band in BANDS}
    names |= {"g_minus_r": "g_minus_r", "r_minus_z": "r_minus_z"}
    return measure.largest_differences(ours, rows, names)


def main() -> None:
    options = measure.arguments(__doc__)
    if options.gpu:
        measure.print_line(
            name="cutout_features", unit="cutouts/s", device="unavailable", ours=None, peer=None, peer_name=None,
            ratio=None, reason="quality columns are measured on CPUs, beside the reading of cutouts; run without --gpu",
        )  # fmt: skip
        return
    device = measure.one_thread()
    load = os.getloadavg()[0]
    batch, tabulated = draw_cutouts(N_OURS, seed=1), Tabulated()
    cutouts = [(batch.image[i], batch.invvar[i], batch.maskbits[i]) for i in range(N_REFERENCE)]
    measure.note("compiling, then timing the batch and the two loops in turns")
    seconds, reference_seconds, tabulated_seconds = measure.best_seconds(
        lambda: cutout_quality(batch),
        lambda: [reference(*cutout) for cutout in cutouts],
        lambda: [tabulated(*cutout) for cutout in cutouts],
        repeats=5 if options.quick else 15,
    )
    ours, theirs, tuned = N_OURS / seconds, N_REFERENCE / reference_seconds, N_REFERENCE / tabulated_seconds
    n_checked = 64 if options.quick else N_OURS
    measure.note(f"{ours:.0f}, {theirs:.0f} and {tuned:.0f} cutouts/s; comparing {n_checked} cutouts")
    every = [(batch.image[i], batch.invvar[i], batch.maskbits[i]) for i in range(n_checked)]
    table = cutout_quality(batch).iloc[:n_checked]
    error = differences(table, [reference(*cutout) for cutout in every])
    tuned_error = differences(table, [tabulated(*cutout) for cutout in every])
    worst = {name: float(f"{max(error[name], tuned_error[name]):.2g}") for name in error}
    row = measure.print_line(
        name="cutout_features", unit="cutouts/s/core", ours=ours, peer=theirs,
        peer_name="numpy, scipy and scikit-image, one cutout at a time", ratio=ours / theirs,
        ours_per_s=ours, reference_per_s=theirs, reference_tabulated_per_s=tuned, ratio_tabulated=ours / tuned,
        threads=1, device=device, load_average=load, cutout=f"{SIZE} x {SIZE} pixels x 3 bands, inverse variance, bits",
        **measure.error_figures(list(worst.values())), error_of="the larger difference from both references, by column",
        max_relative_difference=worst, memory_kept=measure.MEMORY_IS_KEPT,
    )  # fmt: skip
    if options.check and (broken := measure.broken_bounds(row, BOUNDS)):
        raise SystemExit(f"benchmarks.cutout_features: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
