"""Where DR10 comes from, and how politely it is fetched."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skytrace.errors import OptionError, check_between, check_choice, check_names, check_whole

__all__ = ["LegacySurveyOptions"]


@dataclass(frozen=True)
class LegacySurveyOptions:
    """Folders are relative to the data root ($SKYTRACE_DATA) unless absolute.

    route: pixels from the cutout "service" or from "bricks" on disk. sweeps, cutouts, coadd: folders. hats: folder of
    the galaxies as a HATS catalogue, read in partitions, in place of sweeps; hats_margin: of its margins where they are
    in no collection with it. lens_catalog: Parquet. base_url: of the cutout service. layer, pixel_scale_arcsec: of its
    request. workers: requests in flight. rate_per_s: requests started a second, all workers together. attempts: tries
    of one file. timeout_s: of one request. backoff_s, backoff_max_s: first wait and longest wait between tries, doubled
    each time, with jitter drawn from ``seed``. max_response_mb: a longer answer is refused. chunk_rows: rows of a sweep
    read at once. mag_z_limit: rows at or beyond it are skipped while reading (AB, None: keep all). sky_box_deg: ra_min,
    ra_max, dec_min, dec_max to keep (ra_min > ra_max wraps through 0; None: all). anchor_fraction: share of the
    confirmed and A lenses kept aside, by hash of their system.
    """

    route: str = "service"
    sweeps: str = "legacy_survey/sweeps"
    hats: str | None = None
    hats_margin: str | None = None
    cutouts: str = "legacy_survey/cutouts"
    coadd: str = "legacy_survey/coadd"
    lens_catalog: str = "imaging/catalogs/lens_catalog.parquet"
    base_url: str = "https://www.legacysurvey.org"
    layer: str = "ls-dr10"
    pixel_scale_arcsec: float = 0.262
    workers: int = 4
    rate_per_s: float = 4.0
    attempts: int = 6
    timeout_s: float = 60.0
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    max_response_mb: float = 16.0
    seed: int = 20260101
    chunk_rows: int = 200_000
    mag_z_limit: float | None = 21.0
    sky_box_deg: tuple[float, float, float, float] | None = None
    psf_beta: float = 3.5
    anchor_fraction: float = 0.3

    def __post_init__(self) -> None:
        check_choice("route", self.route, ("service", "bricks"))
        if not self.base_url.startswith(("https://", "http://")):
            raise OptionError(f"base_url = {self.base_url!r} must start with https:// or http://")
        if not self.layer.replace("-", "").replace("_", "").isalnum():
            raise OptionError(f"layer = {self.layer!r} must be letters, digits, - and _")
        if self.hats_margin is not None and self.hats is None:
            raise OptionError(f"hats_margin = {self.hats_margin!r} belongs to a HATS catalogue, and hats names none")
        check_between("pixel_scale_arcsec", self.pixel_scale_arcsec, 0.05, 5.0)
        check_whole("workers", self.workers, 1, 64)
        check_between("rate_per_s", self.rate_per_s, 0.0, 1e4, include_low=False)
        check_whole("attempts", self.attempts, 1, 50)
        check_between("timeout_s", self.timeout_s, 0.0, 3600.0, include_low=False)
        check_between("backoff_s", self.backoff_s, 0.0, 600.0)
        check_between("backoff_max_s", self.backoff_max_s, self.backoff_s, 3600.0)
        check_between("max_response_mb", self.max_response_mb, 0.0, 1024.0, include_low=False)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        check_whole("chunk_rows", self.chunk_rows, 1, 10**8)
        check_between("psf_beta", self.psf_beta, 1.0, 100.0, include_low=False)
        check_between("anchor_fraction", self.anchor_fraction, 0.0, 1.0)
        if self.mag_z_limit is not None:
            check_between("mag_z_limit", self.mag_z_limit, 5.0, 30.0)
        if self.sky_box_deg is not None:
            box = tuple(float(value) for value in self.sky_box_deg)
            if len(box) != 4:
                raise OptionError(f"sky_box_deg = {self.sky_box_deg!r} must be ra_min, ra_max, dec_min, dec_max")
            for key, value in zip(("ra_min", "ra_max"), box[:2], strict=True):
                check_between(f"sky_box_deg {key}", value, 0.0, 360.0)
            check_between("sky_box_deg dec_min", box[2], -90.0, 90.0)
            check_between("sky_box_deg dec_max", box[3], box[2], 90.0)
            object.__setattr__(self, "sky_box_deg", box)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> LegacySurveyOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming every key that does not exist."""
        check_names("legacy_survey", values, [field.name for field in dataclasses.fields(cls)])
        return cls(**values)
