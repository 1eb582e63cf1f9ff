"""Cluster fields a second through every patch feature: 128 x 128 pixels in g, r, i, 3 x 3 patches, peaks, colours.

Ours is ``skytrace.clusters.patch_features`` on a batch. The reference is the same definitions as a user writes them
with numpy and scikit-image (graycomatrix and graycoprops, sobel, peak_local_max), one cluster at a time. Both must
agree in every column, NaN for NaN, and GLCM contrast to 1e-9; a disagreement ends the run. Scikit-image's matrices know
no masks, so all pixels have data here: missing ones are left to the tests.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import os
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from skimage.feature import graycomatrix, graycoprops, peak_local_max
from skimage.filters import sobel

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

from skytrace.clusters.options import BANDS, PatchOptions
from skytrace.clusters.patches import feature_columns, grey_thresholds, patch_features

N_OURS, N_REFERENCE = 128, 16
#: Figure -> (lowest, highest) that ``--check`` allows.
BOUNDS = {
    "ms_per_cluster": (0.0, 0.6), "ratio": (40.0, np.inf), "glcm_error_max": (0.0, 1e-9), "error_max": (0.0, 1e-4),
}  # fmt: skip
_MAG = 2.5 / np.log(10.0)
_ANGLES = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]


def draw_fields(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fields of 30-60 round galaxies of two colours on a noisy sky, (n, 3, 128, 128) float32, and noise (n, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((128, 128))
    images = np.empty((n, 3, 128, 128), dtype=np.float32)
    noise = rng.uniform(0.01, 0.03, (n, 3))
    for field, sigma in zip(images, noise, strict=True):
        light = np.zeros((3, 128, 128))
        for k in range(rng.integers(30, 60)):
            row, column, width = (64, 64, 5.0) if k == 0 else (*rng.uniform(0, 128, 2), rng.uniform(1.8, 3.0))
            colour = np.array([0.25, 1.0, 1.6]) if rng.random() < 0.6 else np.array([0.8, 1.0, 1.1])
            profile = (1.0 + ((y - row) ** 2 + (x - column) ** 2) / width**2) ** -2.0
            light += 10 ** rng.uniform(-1.0, 0.7) * colour[:, None, None] * profile
        field[:] = light + sigma[:, None, None] * rng.standard_normal(light.shape)
    return images, noise


class Reference:
    """The columns of one field, with numpy and scikit-image."""

    def __init__(self, options: PatchOptions) -> None:
        self.options, self.thresholds = options, grey_thresholds(options)
        edges = options.edges
        self.windows = [
            (slice(edges[i], edges[i + 1]), slice(edges[j], edges[j + 1])) for i in range(3) for j in range(3)
        ]

    def __call__(self, image: np.ndarray, sigma: np.ndarray) -> dict[str, float]:
        unit = image * (1.0 / sigma).astype(np.float32)[:, None, None]
        levels = [np.searchsorted(self.thresholds, plane, side="right").astype(np.uint8) for plane in unit]
        stack = np.tensordot(sigma**-2, image.astype(float), 1) / np.sqrt((sigma**-2).sum())
        gradient = sobel(stack)
        inner = np.zeros(stack.shape, dtype=bool)
        inner[1:-1, 1:-1] = True
        cut = np.percentile(gradient[inner], self.options.edge_percentile, method="lower")
        row: dict[str, float] = {}
        for p, window in enumerate(self.windows):
            row |= {
                f"{name}_p{p // 3}{p % 3}": value for name, value in self.patch(image, levels, sigma, window).items()
            }
            row[f"edge_density_p{p // 3}{p % 3}"] = (gradient[window] > cut)[inner[window]].mean()
        for b, band in enumerate(BANDS):
            mean = np.array([row[f"mean_{band}_p{p // 3}{p % 3}"] for p in range(9)]).reshape(3, 3)
            for i in range(3):
                for j in range(3):
                    near = mean[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
                    others = (near.sum() - mean[i, j]) / (near.size - 1)
                    row[f"neighbour_contrast_{band}_p{i}{j}"] = (mean[i, j] - others) / sigma[b]
        return row | {"edge_threshold": cut} | self.peaks(stack, unit, sigma)

    def patch(self, image: np.ndarray, levels: list[np.ndarray], sigma: np.ndarray, window: tuple) -> dict[str, float]:
        """Brightness, colours and contrast of one patch."""
        row, mags, errors = {}, [], []
        for b, band in enumerate(BANDS):
            pixels = image[b][window].astype(float)
            row[f"mean_{band}"], row[f"std_{band}"] = pixels.mean(), pixels.std()
            matrix = graycomatrix(
                levels[b][window], [1], _ANGLES, levels=self.options.glcm_levels, symmetric=True, normed=True
            )
            row[f"glcm_contrast_{band}"] = graycoprops(matrix, "contrast").mean()
            mag, error = luptitude(pixels.mean(), sigma[b] / np.sqrt(pixels.size))
            mags.append(mag)
            errors.append(error)
        for k, name in enumerate(("g_minus_r", "r_minus_i")):
            row[name], row[f"{name}_err"] = mags[k] - mags[k + 1], np.hypot(errors[k], errors[k + 1])
        return row

    def peaks(self, stack: np.ndarray, unit: np.ndarray, sigma: np.ndarray) -> dict[str, float]:
        """Peaks of the smoothed stack, and how well their colours agree."""
        around = np.pad(stack, 1, constant_values=np.nan)
        smooth = sum(
            weight * around[1 + dy : 129 + dy, 1 + dx : 129 + dx]
            for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (weight := (2 - abs(dy)) * (2 - abs(dx)) / 6.0)
        )  # fmt: skip
        smooth = np.where(np.isfinite(smooth), smooth, -1e30)
        found = peak_local_max(smooth, min_distance=2, threshold_abs=self.options.peak_sigma, exclude_border=2)
        brightest = found[np.argsort(-smooth[tuple(found.T)])][: self.options.max_peaks]
        colours = [self.colour(unit, sigma, *place) for place in brightest]
        centre = self.colour(unit, sigma, 64, 64)
        off = [one for one in colours if distance2(one, centre) > self.options.off_sequence_sigma**2]
        return {
            "peak_count": len(found), "peak_colour_coherence": agreement(colours),
            "off_colour_peaks": len(off), "off_colour_coherence": agreement(off),
        }  # fmt: skip

    def colour(self, unit: np.ndarray, sigma: np.ndarray, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
        """g-r and r-i of 5 x 5 pixels, and their covariance."""
        total = unit[:, row - 2 : row + 3, column - 2 : column + 3].sum(axis=(1, 2), dtype=float) * sigma
        mag, error = luptitude(total, 5.0 * sigma)
        covariance = np.diag(error[:2] ** 2 + error[1:] ** 2 + self.options.colour_floor_mag**2)
        covariance[0, 1] = covariance[1, 0] = -(error[1] ** 2)
        return mag[:2] - mag[1:], covariance


def luptitude(flux, error):
    """asinh magnitude without zero point, softening 1.042 errors, and its error."""
    b = 1.042 * error
    return -_MAG * (np.arcsinh(flux / (2 * b)) + np.log(b)), _MAG * error / np.sqrt(flux**2 + 4 * b**2)


def distance2(one, other) -> float:
    """Squared Mahalanobis distance of two colours."""
    step = one[0] - other[0]
    return float(step @ np.linalg.solve(one[1] + other[1], step))


def agreement(colours: list) -> float:
    """Mean exp(-d^2 / 2) over pairs."""
    pairs = [np.exp(-0.5 * distance2(one, other)) for one, other in combinations(colours, 2)]
    return float(np.mean(pairs)) if pairs else np.nan


def differences(ours, rows: list[dict[str, float]]) -> dict[str, float]:
    """``measure.largest_differences`` by column, all patches together."""
    names = {name: name.rsplit("_p", 1)[0] if name[-4:-2] == "_p" else name for name in feature_columns()}
    return measure.largest_differences(ours, rows, names)


def main() -> None:
    options = measure.arguments(__doc__)
    if options.gpu:
        measure.print_line(
            name="cluster_features", unit="clusters/s", device="unavailable", ours=None, peer=None, peer_name=None,
            ratio=None, reason="patch features are measured on CPUs, beside the reading of cutouts; run without --gpu",
        )  # fmt: skip
        return
    device = measure.one_thread()
    load = os.getloadavg()[0]
    images, noise = draw_fields(N_OURS, seed=1)
    reference = Reference(PatchOptions())
    n_reference = 6 if options.quick else N_REFERENCE
    measure.note("compiling, then timing the batch and the loop in turns")
    seconds, reference_seconds = measure.best_seconds(
        lambda: patch_features(images, noise),
        lambda: [reference(*field) for field in zip(images[:n_reference], noise, strict=False)],
        repeats=5 if options.quick else 15,
    )
    ours, theirs = N_OURS / seconds, n_reference / reference_seconds
    measure.note(f"{ours:.0f} and {theirs:.0f} clusters/s; comparing")
    n_checked = 16 if options.quick else N_OURS
    rows = [reference(*field) for field in zip(images[:n_checked], noise, strict=False)]
    table = patch_features(images[:n_checked], noise[:n_checked])
    worst = differences(table, rows)
    glcm = [name for name in feature_columns() if name.startswith("glcm")]
    glcm_error = max(float(np.abs(table[name].to_numpy() - [row[name] for row in rows]).max()) for name in glcm)
    row = measure.print_line(
        name="cluster_features", unit="clusters/s/core", ours=ours, peer=theirs,
        peer_name="numpy and scikit-image, one cluster at a time", ratio=ours / theirs,
        ms_per_cluster=1e3 / ours, reference_ms_per_cluster=1e3 / theirs, glcm_error_max=glcm_error,
        threads=1, device=device, load_average=load, cutout="128 x 128 pixels x 3 bands, 9 patches",
        **measure.error_figures(list(worst.values())), error_of="the reference, by column, relative to it",
        max_relative_difference={name: float(f"{value:.2g}") for name, value in worst.items()},
        memory_kept=measure.MEMORY_IS_KEPT,
    )  # fmt: skip
    if options.check and (broken := measure.broken_bounds(row, BOUNDS)):
        raise SystemExit(f"benchmarks.cluster_features: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
