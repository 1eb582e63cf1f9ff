"""The peers of benchmarks/injection.py: lenstronomy, and jaxtronomy in float32, called as their users call them.

Both render the geometry below with 4 x 4 supersampling and the full supersampled kernel, the pixel's integral on top
of the PSF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BETA", "FWHM", "PIXELS", "SCALE", "Jaxtronomy", "Lenstronomy", "in_batches"]

PIXELS, SCALE, BETA = 64, 0.262, 3.5
FWHM = np.array([1.35, 1.20, 1.10])
SUPERSAMPLING = 4
KERNEL_PIXELS = 41
_OPTIONS = {
    "supersampling_factor": SUPERSAMPLING, "supersampling_convolution": True, "supersampling_kernel_size": None,
}  # fmt: skip


def in_batches(images: Callable[[np.ndarray], Any], n: int, batch: int) -> np.ndarray:
    """images(rows) of all rows up to n in batches of one size, so that it is compiled once; the last is filled up."""
    starts = range(0, n, batch)
    parts = [np.asarray(images(np.arange(start, start + batch) % n)) for start in starts]
    return np.concatenate(parts)[:n]


def _grid() -> dict[str, Any]:
    """Where the pixels lie, as both peers' ImageData take it."""
    corner = -(PIXELS // 2) * SCALE
    return {
        "image_data": np.zeros((PIXELS, PIXELS)), "transform_pix2angle": np.eye(2) * SCALE,
        "ra_at_xy_0": corner, "dec_at_xy_0": corner, "background_rms": 1.0, "exposure_time": 1.0,
    }  # fmt: skip


def _kernel(width: float) -> np.ndarray:
    """Supersampled Moffat of one band, sum 1."""
    half = (KERNEL_PIXELS * SUPERSAMPLING) // 2
    axis = np.arange(-half, half + 1) * SCALE / SUPERSAMPLING
    alpha = width / (2 * np.sqrt(2 ** (1 / BETA) - 1))
    kernel = (1 + (axis[:, None] ** 2 + axis**2) / alpha**2) ** -BETA
    return kernel / kernel.sum()


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

        grid = ImageData(**_grid())
        self.lens, self.light = PeerLens(["SIE", "SHEAR"]), LightModel(["SERSIC_ELLIPSE"])
        self.bands = [
            ImageModel(
                grid,
                PSF("PIXEL", kernel_point_source=_kernel(width), pixel_size=SCALE,
                    point_source_supersampling_factor=SUPERSAMPLING),
                lens_model_class=self.lens, source_model_class=self.light, kwargs_numerics=_OPTIONS,
            )
            for width in FWHM
        ]  # fmt: skip

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


class Jaxtronomy:
    """The fastest peer, in float32: one compiled function from a batch of lenses to images, for each of ``at_once``,
    the numbers of lenses computed together (1: ``lax.map``).

    Rays are traced and the source evaluated once for all bands, the better case for it. Older versions switch float64
    on for the whole process, at import and where a model is built; that is undone when the models stand.
    """

    def __init__(self, *, at_once: tuple[int, ...]) -> None:
        import jax

        precision = jax.config.jax_enable_x64
        from jaxtronomy.Data.imaging_data import ImageData
        from jaxtronomy.ImSim.image_model import ImageModel
        from jaxtronomy.LensModel.lens_model import LensModel as PeerLens
        from jaxtronomy.LightModel.light_model import LightModel
        from lenstronomy.Data.psf import PSF

        lens, light = PeerLens(["SIE", "SHEAR"]), LightModel(["SERSIC_ELLIPSE"])
        bands = [
            ImageModel(
                ImageData(**_grid()),
                PSF("PIXEL", kernel_point_source=_kernel(width), pixel_size=SCALE,
                    point_source_supersampling_factor=SUPERSAMPLING),
                lens_model_class=lens, source_model_class=light, kwargs_numerics=_OPTIONS,
            )
            for width in FWHM
        ]  # fmt: skip
        jax.config.update("jax_enable_x64", precision)

        def image(arguments: tuple) -> jax.Array:
            grid = bands[0].ImageNumerics.coordinates_evaluate
            seen = light.surface_brightness(*lens.ray_shooting(*grid, arguments[0]), arguments[1])
            return jax.numpy.stack([band.ImageNumerics.re_size_convolve(seen, unconvolved=False) for band in bands])

        def batched(number: int) -> Callable:
            return jax.jit(lambda batch: jax.lax.map(image, batch, batch_size=None if number == 1 else number))

        self.render = {number: batched(number) for number in at_once}

    @staticmethod
    def columns(work: list[tuple[dict, dict]]) -> Any:
        """Lenses and sources as the peer takes them, arrays over the batch."""
        import jax

        arguments = [Lenstronomy.arguments(*pair) for pair in work]
        return jax.tree.map(lambda *values: jax.numpy.asarray(np.array(values), dtype="float32"), *arguments)

    def images(self, work: list[tuple[dict, dict]], *, at_once: int, batch: int | None = None) -> np.ndarray:
        """Images (n, band, y, x) of unit-flux sources, ``batch`` lenses a call."""

        def some(rows: np.ndarray) -> Any:
            return self.render[at_once](self.columns([work[row] for row in rows]))

        return in_batches(some, len(work), batch or len(work))
