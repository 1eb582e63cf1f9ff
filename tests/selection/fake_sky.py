"""A small survey and a detector with random weights: what the injection loop needs, without a mock sky or training."""

import numpy as np
import pandas as pd

from skytrace.imaging.photometry import psfdepth_from_mag
from skytrace.imaging.preprocessing import PreprocessOptions, preprocessing_checksum
from skytrace.imaging.psf import MoffatPsf, moffat_fwhm_from_psfsize, sky_sigma_nmgy
from skytrace.imaging.sky_noise import draw_correlated_noise
from skytrace.surveys.interface import LENS_COLUMNS, CutoutBatch


class FakeSky:
    """Exponential galaxies on coadd noise; a galaxy's pixels follow from its number alone."""

    name = "fake"

    def __init__(self, n: int = 60) -> None:
        rng = np.random.default_rng(1)
        table = pd.DataFrame({"galaxy_id": [f"fake-{i:05d}" for i in range(n)], "ra": 150 + 0.01 * np.arange(n)})
        table = table.assign(dec=2.0, type="DEV", shape_r=1.0, sersic=4.0, maskbits=0, ebv=0.03)
        table["shape_e1"], table["shape_e2"] = rng.normal(0, 0.2, n), rng.normal(0, 0.2, n)
        psf, mag = rng.uniform(0.95, 1.6, n), rng.uniform(23.2, 25.2, n)
        for band, flux, broader, deeper in zip(
            "grz", (2.0, 6.0, 12.0), (1.1, 1.0, 0.95), (0.5, 0.0, -1.0), strict=True
        ):
            table[f"flux_{band}"], table[f"flux_ivar_{band}"], table[f"nobs_{band}"] = flux, 100.0, 4
            table[f"psfsize_{band}"] = psf * broader
            table[f"psfdepth_{band}"] = psfdepth_from_mag(mag + deeper)
            table[f"galdepth_{band}"] = psfdepth_from_mag(mag + deeper - 0.3)
        self.table = table

    def galaxies(self) -> pd.DataFrame:
        return self.table.copy()

    def lenses(self) -> pd.DataFrame:
        return pd.DataFrame({name: [] for name in LENS_COLUMNS})

    def cutouts(self, galaxy_ids, *, size: int = 101) -> CutoutBatch:
        rows = self.table.set_index("galaxy_id").loc[list(galaxy_ids)]
        psfsize = rows[[f"psfsize_{band}" for band in "grz"]].to_numpy()
        sigma = sky_sigma_nmgy(rows[[f"psfdepth_{band}" for band in "grz"]].to_numpy(), psfsize)
        y, x = np.indices((size, size)) - size // 2
        image = np.stack(
            [
                draw_correlated_noise(
                    sigma[i][:, None, None], shape=(3, size, size), rng=np.random.default_rng(int(name[5:]))
                )
                for i, name in enumerate(galaxy_ids)
            ]
        )
        image += (np.array([0.03, 0.1, 0.2])[:, None, None] * np.exp(-np.hypot(x, y) / 3)).astype(np.float32)
        invvar = np.broadcast_to(1 / sigma[..., None, None] ** 2, image.shape).astype(np.float32)
        masks = np.zeros((len(image), size, size), dtype=np.int32)
        psf = MoffatPsf(moffat_fwhm_from_psfsize(psfsize))
        return CutoutBatch(np.array(galaxy_ids), image.astype(np.float32), invvar.copy(), masks, psf)


def random_detector():
    """A ResNet-18 of fixed random weights; its scores mean nothing and are always the same."""
    import torch

    from skytrace.learning import Detector
    from skytrace.learning.networks import build_network

    torch.manual_seed(0)
    network = build_network("resnet18", in_channels=3)
    card = {
        "preprocessing": {"checksum": preprocessing_checksum(PreprocessOptions())},
        "threshold": {"value": 0.5, "rule": "fixed"},
    }
    return Detector("resnet18", {name: value.numpy() for name, value in network.state_dict().items()}, card)
