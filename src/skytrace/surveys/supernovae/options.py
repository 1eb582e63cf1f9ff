"""What can be chosen about the simulated supernovae, and where real ones lie. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skytrace.errors import OptionError, check_between, check_choice, check_names, check_whole
from skytrace.supernovae.fit_options import ModelOptions
from skytrace.surveys.supernovae.limits import MAX_FILE_MB, MAX_ROWS

__all__ = ["MockSupernovaOptions", "SnanaOptions", "SupernovaTableOptions"]


@dataclass(frozen=True)
class MockSupernovaOptions:
    """Size, seed, cosmology and population of the simulated supernovae. Every random number follows from the seed and
    the SN's own number, so that SN 17 is the same in a survey of 100 and of 100,000.

    sky_seed: of the nights and their weather, None: seed. mirrored: SNe 2k and 2k + 1 share all numbers but those of
    noise, scatter, A and beta, of which the second has 1 - u for u: an average over pairs has little noise.
    omega_m: of flat LambdaCDM, H0 = 70 km/s/Mpc. z_half, z_half_width: redshift at which half of the SNe are found
    (0.25 more in deep fields), and the logistic's width; below, they follow the comoving volume times (1 + z)^1.7
    (the rate of SNe Ia) over 1 + z. low_z_fraction: SNe with 0.03 < z < 0.1 added to them. There is no selection by
    brightness.
    sigma_int_mag: intrinsic scatter of the distance modulus; scatter_nu: degrees of freedom of its Student-t, None:
    normal (sigma_int_mag is the scale, not the standard deviation). peculiar_velocity_kms: changes z, not mu.
    a_plasma_sd: plasma opacity A ~ HalfNormal. beta_mean, beta_sd: normal, cut to 0-4.
    non_ia_fraction: SNe fainter by N(non_ia_faint_mag, non_ia_sd_mag). brightened_fraction: SNe magnified by mu with
    P(> mu) ~ mu^-2 above brightened_min (lensing far from optically thick); their published P(Ia) is as that of any Ia.
    season_days, cadence_days, loss: length of a season, time between visits, share of visits lost, in each of griz.
    relative_scatter: of every flux, beyond what its error states (calibration, and what no model has).
    error_scale: times the errors, which have percentiles 5/50/95 of 0.08/0.27/0.73 microJy at 1.
    hubble_error_mag: error of the published mu at z = 0; it grows by as much again per unit of z.
    type_separation: distance in sigmas between Ia and others of the score behind the published prob_ia, which is
    calibrated. model: of the light curves.
    """

    n_supernovae: int = 5500
    seed: int = 20260501
    sky_seed: int | None = None
    mirrored: bool = False
    omega_m: float = 0.31
    z_half: float = 0.50
    z_half_width: float = 0.08
    low_z_fraction: float = 0.1
    sigma_int_mag: float = 0.10
    scatter_nu: float | None = None
    peculiar_velocity_kms: float = 250.0
    a_plasma_sd: float = 0.3
    beta_mean: float = 1.2
    beta_sd: float = 0.3
    non_ia_fraction: float = 0.04
    non_ia_faint_mag: float = 1.3
    non_ia_sd_mag: float = 0.7
    brightened_fraction: float = 0.01
    brightened_min: float = 1.5
    season_days: float = 165.0
    cadence_days: float = 6.9
    loss: float = 0.12
    relative_scatter: float = 0.03
    error_scale: float = 1.0
    hubble_error_mag: float = 0.11
    type_separation: float = 4.0
    model: ModelOptions = field(default_factory=ModelOptions)

    def __post_init__(self) -> None:
        check_whole("n_supernovae", self.n_supernovae, 1, 10_000_000)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        if self.sky_seed is not None:
            check_whole("sky_seed", self.sky_seed, 0, 2**63 - 1)
        check_between("omega_m", self.omega_m, 0.0, 1.0)
        check_between("z_half", self.z_half, 0.05, 2.0)
        check_between("z_half_width", self.z_half_width, 1e-3, 1.0)
        check_between("sigma_int_mag", self.sigma_int_mag, 0.0, 2.0)
        if self.scatter_nu is not None:
            check_between("scatter_nu", self.scatter_nu, 1.0, 1e6)
        check_between("peculiar_velocity_kms", self.peculiar_velocity_kms, 0.0, 5000.0)
        check_between("a_plasma_sd", self.a_plasma_sd, 0.0, 5.0)
        check_between("beta_mean", self.beta_mean, 0.0, 4.0)
        check_between("beta_sd", self.beta_sd, 0.0, 4.0)
        for key in ("low_z_fraction", "non_ia_fraction", "brightened_fraction"):
            check_between(key, getattr(self, key), 0.0, 0.5)
        check_between("non_ia_faint_mag", self.non_ia_faint_mag, -10.0, 10.0)
        check_between("non_ia_sd_mag", self.non_ia_sd_mag, 0.0, 5.0)
        check_between("brightened_min", self.brightened_min, 1.0, 1000.0)
        check_between("season_days", self.season_days, 10.0, 365.0)
        check_between("cadence_days", self.cadence_days, 0.5, 100.0)
        check_between("loss", self.loss, 0.0, 0.95)
        check_between("relative_scatter", self.relative_scatter, 0.0, 1.0)
        check_between("error_scale", self.error_scale, 1e-4, 1e4)
        check_between("hubble_error_mag", self.hubble_error_mag, 1e-4, 5.0)
        check_between("type_separation", self.type_separation, 0.0, 20.0)
        if isinstance(self.model, Mapping):
            check_names("model of the mock supernovae", self.model, [f.name for f in dataclasses.fields(ModelOptions)])
            object.__setattr__(self, "model", ModelOptions(**self.model))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> MockSupernovaOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming a key that does not exist."""
        check_names("mock supernovae", values, [f.name for f in dataclasses.fields(cls)])
        return cls(**values)


@dataclass(frozen=True)
class SupernovaTableOptions:
    """Files of a folder. light_curves: Parquet, or a CSV with columns SNID, MJD, FLUX_JY, FLUX_ERR_JY, WAVELENGTH_NM,
    z, BAND (any case; z is heliocentric). index: Parquet, one row a SN; null: none. hubble: name of a release -> its
    table, Parquet, CSV or text as published. surveys: those of the light curves to keep; empty: all. survey: what rows
    come from that do not say it. repeats: where a release has several light curves of one SN ``best`` keeps the row
    with the smallest mu_err_mag (they share their scatter: they are no independent distances), ``keep`` all.
    max_file_mb, max_rows: a file of more is refused before it is read.
    """

    light_curves: str = "lightcurves.parquet"
    index: str | None = "lc_index.parquet"
    hubble: dict[str, str] = field(default_factory=dict)
    surveys: tuple[str, ...] = ()
    survey: str = "unknown"
    repeats: str = "best"
    max_file_mb: float = MAX_FILE_MB
    max_rows: int = MAX_ROWS

    def __post_init__(self) -> None:
        _check_text(self, "light_curves", "survey")
        check_choice("repeats", self.repeats, ("best", "keep"))
        if self.index is not None:
            _check_text(self, "index")
        if not isinstance(self.hubble, Mapping):
            raise OptionError(f"hubble = {self.hubble!r} does not name releases with their tables")
        for name, file in self.hubble.items():
            if not (isinstance(file, str) and file):
                raise OptionError(f"hubble.{name} = {file!r} is not the name of a file")
        if isinstance(self.surveys, str):
            raise OptionError(f"surveys = {self.surveys!r} is not a list of names")
        object.__setattr__(self, "surveys", tuple(self.surveys))
        _check_limits(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SupernovaTableOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming a key that does not exist."""
        check_names("supernova tables", values, [f.name for f in dataclasses.fields(cls)])
        return cls(**values)


@dataclass(frozen=True)
class SnanaOptions:
    """survey: its name, which is also looked up in the table of filters. filters: CSV in the folder with columns
    survey, band, wavelength_nm, ab_offset_mag; where there is none, the filters that ``filters.known_filters`` knows
    (DES, FOUNDATION, LOWZ, PS1MD, SNLS). ab_offset: bring native magnitudes to AB; without it F = FLUXCAL 3.631e-8 Jy.
    text: pattern of the text files; FITS are found by their names, *_HEAD.FITS and *_PHOT.FITS, also with .gz.
    strip_zeros: leading zeros of identifiers that are numbers, as published Hubble tables write them.
    max_file_mb, max_rows: a file of more is refused before it is read.
    """

    survey: str = "DES"
    filters: str = "filters.csv"
    ab_offset: bool = True
    text: str = "*.dat"
    strip_zeros: bool = True
    max_file_mb: float = MAX_FILE_MB
    max_rows: int = MAX_ROWS

    def __post_init__(self) -> None:
        _check_text(self, "survey", "filters", "text")
        for key in ("ab_offset", "strip_zeros"):
            check_choice(key, getattr(self, key), (True, False))
        _check_limits(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SnanaOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming a key that does not exist."""
        check_names("SNANA files", values, [f.name for f in dataclasses.fields(cls)])
        return cls(**values)


def _check_text(options: object, *keys: str) -> None:
    for key in keys:
        value = getattr(options, key)
        if not (isinstance(value, str) and value.strip()):
            raise OptionError(f"{key} = {value!r} is not a name")


def _check_limits(options: SupernovaTableOptions | SnanaOptions) -> None:
    check_between("max_file_mb", options.max_file_mb, 0.0, 1e6, include_low=False)
    check_whole("max_rows", options.max_rows, 1, 10**10)
