"""What can be chosen about the mock clusters and about mosaics on disk. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skytrace.errors import OptionError, check_between, check_names, check_whole

__all__ = ["CONFUSERS", "MockClusterOptions", "MosaicOptions"]

#: What a field can hold besides its cluster and what that lenses.
CONFUSERS = ("blue_aligned", "galaxy_arc", "merger", "projection", "star")


@dataclass(frozen=True)
class MockClusterOptions:
    """Size, seed, mixture and depth of the mock clusters. Every random number follows from the seed and the cluster's
    own number, so that cluster 17 is the same in a survey of 100 and of 100,000.

    lens_fraction: clusters that lens a background cluster; far above the sky's 1e-4, so that there is something to
    learn from: what needs the prior must be told it. confuser_fraction: of all fields, lenses or not, those that hold
    one of CONFUSERS, in equal parts. red_projection_share: of the fields without a projection among these, those with
    galaxies of many redshifts along the line of sight, mostly red: the sample is one that colours have selected
    already, so colour alone finds no lenses.
    label_fraction: lenses that are known, drawn at random among them. background_members: fewest and most galaxies of a
    background cluster; background_z: its lowest and highest redshift. pixels, pixel_scale_arcsec: of the cutouts.
    psf_fwhm_arcsec, depth_mag: medians in g, r, i (5 sigma, point source), with seeing_scatter (of ln) and
    depth_scatter_mag from field to field, half of their variance from one HEALPix cell of 3.7 deg to the next.
    zero_point_scatter_mag: of the calibration. known_sigma_v, known_l_x: share of clusters with a velocity dispersion,
    an X-ray luminosity. threads: that render; they change no pixel.
    """

    n_clusters: int = 2000
    seed: int = 20261121
    lens_fraction: float = 0.1
    confuser_fraction: float = 0.6
    red_projection_share: float = 0.8
    label_fraction: float = 0.3
    background_members: tuple[int, int] = (20, 50)
    background_z: tuple[float, float] = (0.8, 1.5)
    pixels: int = 128
    pixel_scale_arcsec: float = 0.262
    psf_fwhm_arcsec: tuple[float, float, float] = (1.20, 1.05, 0.95)
    depth_mag: tuple[float, float, float] = (25.0, 24.6, 24.1)
    seeing_scatter: float = 0.08
    depth_scatter_mag: float = 0.15
    zero_point_scatter_mag: float = 0.01
    known_sigma_v: float = 0.2
    known_l_x: float = 0.3
    threads: int = 2

    def __post_init__(self) -> None:
        for name in ("background_members", "background_z", "psf_fwhm_arcsec", "depth_mag"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_whole("n_clusters", self.n_clusters, 1, 10_000_000)
        check_whole("seed", self.seed, 0, 2**62)
        for name in (
            "lens_fraction",
            "confuser_fraction",
            "red_projection_share",
            "label_fraction",
            "known_sigma_v",
            "known_l_x",
        ):
            check_between(name, getattr(self, name), 0.0, 1.0)
        for name, low, high in (("background_members", 1, 500), ("background_z", 0.7, 2.0)):
            ends = getattr(self, name)
            if len(ends) != 2 or not low <= ends[0] <= ends[1] <= high:
                raise OptionError(f"{name} = {ends} is not two values (low, high) within [{low}, {high}]")
        for name, low, high in (("psf_fwhm_arcsec", 0.3, 5.0), ("depth_mag", 18.0, 30.0)):
            if len(getattr(self, name)) != 3:
                raise OptionError(f"{name} = {getattr(self, name)} is not three values, of g, r and i")
            for value in getattr(self, name):
                check_between(name, value, low, high)
        check_whole("pixels", self.pixels, 24, 1024)
        check_between("pixel_scale_arcsec", self.pixel_scale_arcsec, 0.05, 1.0)
        check_between("seeing_scatter", self.seeing_scatter, 0.0, 0.5)
        check_between("depth_scatter_mag", self.depth_scatter_mag, 0.0, 1.0)
        check_between("zero_point_scatter_mag", self.zero_point_scatter_mag, 0.0, 0.5)
        check_whole("threads", self.threads, 1, 256)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> MockClusterOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming a key that does not exist."""
        check_names("mock clusters", values, [f.name for f in dataclasses.fields(cls)])
        return cls(**values)


@dataclass(frozen=True)
class MosaicOptions:
    """Files of a folder and what they mean. images: band -> FITS mosaics of that band (they may overlap; the first that
    holds the centre is used), nanomaggies after ``zero_point_mag``: a pixel is worth 10^(0.4 (22.5 - zero point)) of
    them. zero_point_mag, psf_fwhm_arcsec: one number for g, r and i, three numbers, or band -> number; kept as three.
    The PSF is that of all fields, a Moffat of psf_beta in every band. weights: band -> inverse variances of the same
    files, in the same order and pixel unit; none: the noise is measured on the pixels. catalogue: Parquet, CSV or FITS
    table; columns: our name -> the catalogue's (redMaPPer's by default). minimum_valid_fraction: of a cutout, in every
    band, to keep its cluster.
    """

    images: dict[str, tuple[str, ...]] = field(default_factory=dict)
    weights: dict[str, tuple[str, ...]] = field(default_factory=dict)
    zero_point_mag: tuple[float, float, float] = (22.5, 22.5, 22.5)
    psf_fwhm_arcsec: tuple[float, float, float] = (1.2, 1.05, 0.95)
    psf_beta: float = 3.5
    catalogue: str = "clusters.parquet"
    columns: dict[str, str] = field(
        default_factory=lambda: {
            "cluster_id": "MEM_MATCH_ID", "ra": "RA", "dec": "DEC", "redshift": "Z_LAMBDA", "richness": "LAMBDA",
        }
    )  # fmt: skip
    pixels: int = 128
    minimum_valid_fraction: float = 0.5

    def __post_init__(self) -> None:
        for name in ("images", "weights"):
            given = {
                band: (paths,) if isinstance(paths, str) else tuple(paths)
                for band, paths in getattr(self, name).items()
            }
            check_names(f"{name} of a cluster mosaic", given, ("g", "r", "i"))
            object.__setattr__(self, name, given)
        for name, low, high in (("zero_point_mag", 0.0, 40.0), ("psf_fwhm_arcsec", 0.05, 10.0)):
            object.__setattr__(self, name, _by_band(name, getattr(self, name), low, high))
        missing = [band for band in "gri" if not self.images.get(band)]
        if missing:
            raise OptionError(f"images of a cluster mosaic has no file for band {', '.join(missing)}; it needs g, r, i")
        for band, paths in self.weights.items():
            if len(paths) != len(self.images[band]):
                raise OptionError(f"weights of band {band}: {len(paths)} files for {len(self.images[band])} images")
        check_between("psf_beta", self.psf_beta, 1.5, 10.0)
        check_whole("pixels", self.pixels, 24, 4096)
        check_between("minimum_valid_fraction", self.minimum_valid_fraction, 0.0, 1.0)
        needed = [name for name in ("cluster_id", "ra", "dec", "redshift", "richness") if name not in self.columns]
        if needed:
            raise OptionError(f"columns of a cluster mosaic does not say what {', '.join(needed)} is called")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> MosaicOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming a key that does not exist."""
        check_names("cluster mosaic", values, [f.name for f in dataclasses.fields(cls)])
        return cls(**values)


def _by_band(key: str, given: Any, low: float, high: float) -> tuple[float, float, float]:
    """Three numbers within [low, high], of g, r and i; OptionError naming a band that is missing or unknown."""
    if isinstance(given, Mapping):
        check_names(key, given, ("g", "r", "i"))
        missing = [band for band in "gri" if band not in given]
        if missing:
            raise OptionError(f"{key} = {dict(given)} has no value for band {', '.join(missing)}; it needs g, r, i")
        values = [given[band] for band in "gri"]
    elif isinstance(given, Iterable) and not isinstance(given, str):
        values = list(given)
        if len(values) != 3:
            raise OptionError(f"{key} = {tuple(values)} is not one value or three values, of g, r and i")
    else:
        values = [given] * 3
    for band, value in zip("gri", values, strict=True):
        check_between(f"{key} of {band}", value, low, high)
    g, r, i = (float(value) for value in values)
    return g, r, i
