"""Options of the gate that finds outliers and of its test by injection (``supernova``, stage 3). Nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skytrace.errors import OptionError, check_between, check_choice, check_whole
from skytrace.supernovae.population_options import POPULATION_MODELS

__all__ = ["FEATURES", "FLUX_SCALINGS", "InjectionOptions", "OutlierOptions"]

#: Per-supernova summaries that a mixture may be fitted to.
FEATURES = ("ln_k_j_star", "ln_chi2_per_dof", "residual_skew")
FLUX_SCALINGS = ("mass_ratio", "magnification")


@dataclass(frozen=True)
class OutlierOptions:
    """law: the posterior (Student-t) whose pointwise elpd and predictions are used; folds must predict it too.
    mixtures: name -> features of a two-component Gaussian mixture; ``gate`` names the one that flags.
    A supernova is an outlier candidate where p_outlier > p_outlier_min, and flagged where chi2/ndof of its light curve
    is above chi2_per_dof_min as well. prob_ia_min: at or below it a published P(Ia) says outlier. seed: of the
    starts of the mixtures' fits.
    """

    law: str = "flat_lcdm"
    mixtures: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"brightness": ("ln_k_j_star",), "light_curve": FEATURES}
    )
    gate: str = "brightness"
    p_outlier_min: float = 0.5
    chi2_per_dof_min: float = 3.0
    prob_ia_min: float = 0.5
    seed: int = 42

    def __post_init__(self) -> None:
        if not isinstance(self.mixtures, Mapping):
            raise OptionError(f"mixtures = {self.mixtures!r} does not name mixtures with their features")
        for name, features in self.mixtures.items():
            if not isinstance(features, (tuple, list)):
                raise OptionError(f"mixtures.{name} = {features!r} is not a list: name some of {', '.join(FEATURES)}")
        object.__setattr__(self, "mixtures", {str(name): tuple(of) for name, of in self.mixtures.items()})
        for name, features in self.mixtures.items():
            if not features:
                raise OptionError(f"mixtures.{name} is empty: name some of {', '.join(FEATURES)}")
            for feature in features:
                check_choice(f"mixtures.{name}", feature, FEATURES)
        check_choice("law", self.law, POPULATION_MODELS)
        check_choice("gate", self.gate, tuple(self.mixtures))
        check_between("p_outlier_min", self.p_outlier_min, 0.0, 1.0)
        check_between("chi2_per_dof_min", self.chi2_per_dof_min, 0.0, 1e6)
        check_between("prob_ia_min", self.prob_ia_min, 0.0, 1.0)
        check_whole("seed", self.seed, 0, 2**31 - 1)


@dataclass(frozen=True)
class InjectionOptions:
    """How clean supernovae are made outliers, to see which score finds them.

    scaling: of the flux, ``mass_ratio``: log-uniform from mass_ratio_min to mass_ratio_max (a flux proportional to the
    mass of what shines); ``magnification``: P(> mu) ~ mu^-2 above magnification_min (lensing). fraction: share of clean
    supernovae injected, chosen by hash of snid with salt. relative_scatter: of the light that is added.
    """

    scaling: str = "mass_ratio"
    fraction: float = 0.05
    mass_ratio_min: float = 1.0
    mass_ratio_max: float = 1000.0
    magnification_min: float = 1.5
    relative_scatter: float = 0.03
    salt: str = "sn-injection-v1"

    def __post_init__(self) -> None:
        check_choice("scaling", self.scaling, FLUX_SCALINGS)
        check_between("fraction", self.fraction, 0.0, 0.5, include_low=False)
        check_between("mass_ratio_min", self.mass_ratio_min, 1.0, 1e6)
        check_between("mass_ratio_max", self.mass_ratio_max, self.mass_ratio_min, 1e6, include_low=False)
        check_between("magnification_min", self.magnification_min, 1.0, 1e3)
        check_between("relative_scatter", self.relative_scatter, 0.0, 1.0)
