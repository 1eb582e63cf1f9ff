"""What can be chosen about the built-in sky, and nothing else: its size, its seed, its mixture and its depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skytrace.errors import check_between, check_names, check_whole

__all__ = ["MockSurveyOptions"]


@dataclass(frozen=True)
class MockSurveyOptions:
    """Size, seed and mixture of the mock survey.

    n_galaxies: rows of the galaxy table, lenses included. seed: every random number of the sky follows from it.
    lens_fraction: discovered lenses among the galaxies; 0.18 gives a detector enough to learn from and is *not* the
    sky's prevalence, which is about 1 in 10^4 luminous red galaxies. galaxies_per_pointing: stamps that share PSF,
    depth, exposures and dust (one pointing lies inside one HEALPix cell of nside 128). count_slope: d log10 N / dm of
    mag_z below 20. early_fraction: red early types among the ordinary galaxies (neither lens nor confuser).
    massive_fraction: among all early types that are not lenses, those drawn from the deflectors' own magnitudes,
    redshifts, colours and shapes; without them a classifier need not look at arcs at all. arc_snr_half,
    arc_snr_width_dex: integrated arc S/N (g, r and z together) at which half of the lenses have been discovered,
    and the width of that logistic in log10 S/N. confuser_fraction: spirals, rings, mergers, edge-on disks, blue
    clumpy galaxies and ellipticals with arc-like companions among the galaxies that are not lenses.
    artefact_fraction: stamps with a survey edge, and (separately) with masked blemishes in one band. shard_size:
    galaxies a shard file. threads: threads that render. The last two change no pixel.
    """

    n_galaxies: int = 6000
    seed: int = 20260101
    lens_fraction: float = 0.18
    confuser_fraction: float = 0.36
    early_fraction: float = 0.80
    massive_fraction: float = 0.80
    galaxies_per_pointing: int = 15
    count_slope: float = 0.40
    arc_snr_half: float = 36.0
    arc_snr_width_dex: float = 0.10
    artefact_fraction: float = 0.02
    shard_size: int = 250
    threads: int = 2

    def __post_init__(self) -> None:
        check_whole("n_galaxies", self.n_galaxies, 20, 10_000_000)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        check_between("lens_fraction", self.lens_fraction, 0.0, 0.9)
        check_between("confuser_fraction", self.confuser_fraction, 0.0, 1.0)
        check_between("early_fraction", self.early_fraction, 0.0, 1.0)
        check_between("massive_fraction", self.massive_fraction, 0.0, 1.0)
        check_whole("galaxies_per_pointing", self.galaxies_per_pointing, 1, 80)
        check_between("count_slope", self.count_slope, 0.05, 1.0)
        check_between("arc_snr_half", self.arc_snr_half, 0.0, 1e3)
        check_between("arc_snr_width_dex", self.arc_snr_width_dex, 0.0, 2.0, include_low=False)
        check_between("artefact_fraction", self.artefact_fraction, 0.0, 0.5)
        check_whole("shard_size", self.shard_size, 1, 10_000)
        check_whole("threads", self.threads, 1, 256)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> MockSurveyOptions:
        """Options from a plain mapping (a catalog entry); raises OptionError naming a key that does not exist."""
        check_names("mock survey", values, [field.name for field in dataclasses.fields(cls)])
        return cls(**values)

    def sky(self) -> dict[str, Any]:
        """The options that change what is on the sky or how it is laid out in files (all but ``threads``)."""
        return {key: value for key, value in dataclasses.asdict(self).items() if key != "threads"}
