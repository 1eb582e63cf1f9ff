"""What can be chosen about the features of cluster fields. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

from skytrace.errors import OptionError, check_between, check_choice, check_names, check_whole

__all__ = ["BANDS", "CatalogueFeatureOptions", "ColourOptions", "PatchOptions", "SurveyScaleOptions"]

#: Bands of every cluster cutout, in this order.
BANDS = ("g", "r", "i")
_SURVEY_COLUMNS = ("cluster_id", "ra", "dec", "redshift", "richness", "group")


@dataclass(frozen=True)
class PatchOptions:
    """How cutouts become columns.

    pixels: side of the cutouts. glcm_levels: grey levels, spread evenly in asinh(x / (softening_sigma sky sigmas)) from
    darkest_sigma to brightest_sigma; what lies beyond is in the end levels. edge_percentile: of the gradient over the
    whole cutout, above which a pixel is an edge. peak_sigma: least S/N of a peak. max_peaks: the brightest, whose
    colours are compared. colour_floor_mag: added to the errors of the peaks' colours. off_sequence_sigma: distance
    [sigma] from the central colour beyond which a peak is off the cluster's sequence. pool_outer: the outer eight
    patches as mean, standard deviation and maximum, which no flip or quarter turn changes; patches are then 43/42/43
    pixels wide instead of 43/43/42, because only a symmetric grid maps onto itself. on_missing: what a band or a patch
    without any data does: "flag" (NaN features, flag columns) or "raise".
    """

    pixels: int = 128
    glcm_levels: int = 32
    softening_sigma: float = 2.0
    darkest_sigma: float = -3.0
    brightest_sigma: float = 300.0
    edge_percentile: float = 90.0
    peak_sigma: float = 5.0
    max_peaks: int = 24
    colour_floor_mag: float = 0.05
    off_sequence_sigma: float = 3.0
    pool_outer: bool = False
    on_missing: str = "flag"

    def __post_init__(self) -> None:
        check_whole("pixels", self.pixels, 24, 4096)
        check_whole("glcm_levels", self.glcm_levels, 2, 256)
        check_between("softening_sigma", self.softening_sigma, 1e-3, 1e3)
        check_between("darkest_sigma", self.darkest_sigma, -1e3, 0.0)
        check_between("brightest_sigma", self.brightest_sigma, 1.0, 1e6)
        check_between("edge_percentile", self.edge_percentile, 1.0, 99.9)
        check_between("peak_sigma", self.peak_sigma, 1.0, 1e3)
        check_whole("max_peaks", self.max_peaks, 2, 256)
        check_between("colour_floor_mag", self.colour_floor_mag, 0.0, 1.0)
        check_between("off_sequence_sigma", self.off_sequence_sigma, 0.0, 100.0)
        check_choice("on_missing", self.on_missing, ("flag", "raise"))

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """First pixel of each of the three patches along an axis, and the end: no pixel is lost."""
        small, spare = divmod(self.pixels, 3)
        if self.pool_outer:  # the odd pixel goes to the middle, a pair of them to both sides
            widths = (small + (spare == 2), small + (spare == 1), small + (spare == 2))
        else:
            widths = (small + (spare >= 1), small + (spare == 2), small)
        return 0, widths[0], widths[0] + widths[1], self.pixels


@dataclass(frozen=True)
class CatalogueFeatureOptions:
    """z_source: of the background assumed where an Einstein radius needs one. omega_m, h0_km_s_mpc: flat LambdaCDM.
    concentration: c200 of the NFW profile that turns M500 into M200.
    """

    z_source: float = 2.0
    omega_m: float = 0.3
    h0_km_s_mpc: float = 70.0
    concentration: float = 5.0

    def __post_init__(self) -> None:
        check_between("z_source", self.z_source, 0.1, 20.0)
        check_between("omega_m", self.omega_m, 0.01, 1.0)
        check_between("h0_km_s_mpc", self.h0_km_s_mpc, 30.0, 120.0)
        check_between("concentration", self.concentration, 1.0, 30.0)


@dataclass(frozen=True)
class ColourOptions:
    """aperture_fwhm_arcsec: of the common Gaussian aperture on the sky; it must be wider than every PSF.
    intrinsic_mag: scatter of the colours of one source's images beyond their errors (deblending, microlensing, PSF);
    with a reference sample it is what the sample's covariance is shrunk with. huber: tuning constant [sigma].
    iterations: of the reweighting. flag_sigma: distance beyond which an image, or the group, is flagged.
    """

    aperture_fwhm_arcsec: float = 1.6
    intrinsic_mag: float = 0.03
    huber: float = 1.345
    iterations: int = 20
    flag_sigma: float = 5.0

    def __post_init__(self) -> None:
        check_between("aperture_fwhm_arcsec", self.aperture_fwhm_arcsec, 0.1, 20.0)
        check_between("intrinsic_mag", self.intrinsic_mag, 0.0, 1.0)
        check_between("huber", self.huber, 0.5, 10.0)
        check_whole("iterations", self.iterations, 1, 200)
        check_between("flag_sigma", self.flag_sigma, 1.0, 20.0)


@dataclass(frozen=True)
class SurveyScaleOptions:
    """A catalogue of a whole survey, of which no pixels are needed.

    catalogue: table (Parquet, CSV, FITS) under the data root; None: there is none. columns: our name -> its name;
    ``group`` names the catalogue that a row is of, and may be left out. nside: of the HEALPix cells whose area is the
    footprint's. share: of the clusters that the file has. proxy_z_source: source redshift that the Einstein radius of
    a richness is for. minimum_gap: in redshift between a lens and what it can lens.
    """

    catalogue: str | None = None
    columns: dict[str, str] = field(
        default_factory=lambda: {
            "cluster_id": "name", "ra": "ra", "dec": "dec", "redshift": "z_cl", "richness": "richness",
            "group": "catalog",
        }
    )  # fmt: skip
    nside: int = 64
    share: float = 1.0
    proxy_z_source: float = 2.0
    minimum_gap: float = 0.2

    def __post_init__(self) -> None:
        check_names("columns of a survey catalogue", self.columns, _SURVEY_COLUMNS)
        missing = [name for name in _SURVEY_COLUMNS[:-1] if name not in self.columns]
        if missing:
            raise OptionError(f"columns of a survey catalogue does not name {', '.join(missing)}")
        check_whole("nside", self.nside, 1, 4096)
        check_between("share", self.share, 0.0, 1.0, include_low=False)
        check_between("proxy_z_source", self.proxy_z_source, 0.1, 20.0)
        check_between("minimum_gap", self.minimum_gap, 0.0, 5.0)
