"""The absorption features of a type Ia supernova, and how they are measured. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import OptionError, check_between, check_whole

__all__ = ["TYPE_IA_FEATURES", "FeatureOptions", "FeatureWindow"]


@dataclass(frozen=True)
class FeatureWindow:
    """rest_angstrom: the line's, in vacuum (blends: weighted by gf). blue_angstrom, red_angstrom: where the maxima lie
    between which the pseudo-continuum is drawn. velocity_km_s: among which the minimum is sought, positive outwards.
    """

    name: str
    rest_angstrom: float
    blue_angstrom: tuple[float, float]
    red_angstrom: tuple[float, float]
    velocity_km_s: tuple[float, float]

    def __post_init__(self) -> None:
        for key in ("blue_angstrom", "red_angstrom", "velocity_km_s"):
            if len(getattr(self, key)) != 2:
                raise OptionError(f"{self.name}: {key} = {getattr(self, key)!r} is not a pair (low, high)")
        (b0, b1), (r0, r1) = self.blue_angstrom, self.red_angstrom
        check_between(f"{self.name}: rest_angstrom", self.rest_angstrom, 500.0, 60_000.0)
        check_between(f"{self.name}: blue_angstrom[0]", b0, 500.0, 60_000.0)
        check_between(f"{self.name}: blue_angstrom[1]", b1, b0, r0, include_low=False)
        check_between(f"{self.name}: red_angstrom[1]", r1, r0, 60_000.0, include_low=False)
        check_between(f"{self.name}: velocity_km_s[0]", self.velocity_km_s[0], -1e4, 1e5)
        slow, fast = self.velocity_km_s
        check_between(f"{self.name}: velocity_km_s[1]", fast, slow, 1e5, include_low=False)


#: Near maximum light. Rest wavelengths: NIST's in air, weighted by gf, made vacuum (a test recomputes them). The Fe
#: blend has no one line: its velocity, by Fe II 5169, only compares spectra.
TYPE_IA_FEATURES = (
    FeatureWindow("ca_ii_hk", 3946.4, (3450.0, 3750.0), (3850.0, 4150.0), (8000.0, 25_000.0)),
    FeatureWindow("fe_blend", 5170.5, (4400.0, 4700.0), (5050.0, 5300.0), (6000.0, 20_000.0)),
    FeatureWindow("s_ii_w", 5641.7, (5060.0, 5310.0), (5500.0, 5681.0), (5000.0, 14_000.0)),
    FeatureWindow("si_ii_5972", 5973.5, (5550.0, 5720.0), (5850.0, 6015.0), (5000.0, 18_000.0)),
    FeatureWindow("si_ii_6355", 6357.0, (5800.0, 6015.0), (6200.0, 6600.0), (6000.0, 20_000.0)),
    FeatureWindow("o_i_7774", 7775.6, (7100.0, 7450.0), (7600.0, 7900.0), (7000.0, 20_000.0)),
    FeatureWindow("ca_ii_ir", 8581.1, (7500.0, 8050.0), (8200.0, 8900.0), (7000.0, 25_000.0)),
)


@dataclass(frozen=True)
class FeatureOptions:
    """windows: the features. smooth_angstrom: window of the cubic Savitzky-Golay smoothing with which maxima and the
    first guess of the minimum are found. fit_half_width_km_s, order: of the polynomial
    fitted about the minimum; of lower orders the errors are up to a quarter off, as the fit is re-centred.
    """

    windows: tuple[FeatureWindow, ...] = TYPE_IA_FEATURES
    smooth_angstrom: float = 55.0
    fit_half_width_km_s: float = 2500.0
    order: int = 5

    def __post_init__(self) -> None:
        if not self.windows:
            raise OptionError("windows = () names no feature")
        check_between("smooth_angstrom", self.smooth_angstrom, 1.0, 1000.0)
        check_between("fit_half_width_km_s", self.fit_half_width_km_s, 100.0, 20_000.0)
        check_whole("order", self.order, 2, 6)
