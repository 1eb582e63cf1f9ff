"""What may be chosen about the audit of a detector. Import-free: Kedro builds these from YAML."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import check_between, check_choice, check_whole

__all__ = ["GateOptions", "ShortcutOptions"]


@dataclass(frozen=True)
class ShortcutOptions:
    """yellow, red: a feature is so coloured where the lower 68 % bound of its AUC is above. n_resamples, seed: of the
    bootstrap, which draws whole sky cells where they are known. fewest: lenses and galaxies with a value that a feature
    needs before it is judged.
    """

    yellow: float = 0.60
    red: float = 0.70
    n_resamples: int = 300
    seed: int = 20260101
    fewest: int = 10

    def __post_init__(self) -> None:
        check_between("yellow", self.yellow, 0.5, 1.0)
        check_between("red", self.red, self.yellow, 1.0)
        _check_bootstrap(self.n_resamples, self.seed)
        check_whole("fewest", self.fewest, 2, 1_000_000)


@dataclass(frozen=True)
class GateOptions:
    """What the small classifiers see and how they are tried (design page ``lens_finder``, stage 6).

    core_radius_px: the core is r < this; annulus and core share no pixel. outer_radius_px: where annulus and profile
    end. ring_px, sectors: polar bins of the annulus. profile_ring_px: width of the profile's rings. components:
    principal components of the core's pixels. classifier: "gradient_boosting" or "logistic". folds: of the
    cross-validation, whole sky cells apart. n_resamples, seed: of the bootstrap over sky cells; seed also of the folds
    and classifiers.
    """

    core_radius_px: float = 8.0
    outer_radius_px: float = 28.0
    ring_px: float = 4.0
    sectors: int = 12
    profile_ring_px: float = 2.0
    components: int = 30
    classifier: str = "gradient_boosting"
    folds: int = 5
    n_resamples: int = 300
    seed: int = 20260101

    def __post_init__(self) -> None:
        check_between("core_radius_px", self.core_radius_px, 1.0, 512.0)
        check_between("outer_radius_px", self.outer_radius_px, self.core_radius_px + 1.0, 512.0)
        width = self.outer_radius_px - self.core_radius_px
        check_between("ring_px", self.ring_px, 1.0, width)
        check_between("profile_ring_px", self.profile_ring_px, 1.0, self.outer_radius_px)
        check_choice("classifier", self.classifier, ("gradient_boosting", "logistic"))
        for key, low, high in (("sectors", 4, 64), ("components", 1, 1000), ("folds", 2, 50)):
            check_whole(key, getattr(self, key), low, high)
        _check_bootstrap(self.n_resamples, self.seed)


def _check_bootstrap(n_resamples: int, seed: int) -> None:
    check_whole("n_resamples", n_resamples, 50, 1_000_000)
    check_whole("seed", seed, 0, 2**63 - 1)
