"""Options of spectral_emulator's glue: how many models each stage has, and which samplers run on it."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import OptionError, check_between, check_choice, check_whole
from skytrace.spectra.composition import COMPOSITION_Z
from skytrace.spectra.inference_options import METHODS

__all__ = ["CoverageOptions", "CurveOptions", "KnockOutOptions", "StageOptions"]


@dataclass(frozen=True)
class StageOptions:
    """One stage. models: that the emulator may learn from; held_out: further ones that it never sees, by which it is
    judged; seed: of both hypercubes, which differ. methods: the samplers that run; the first one's posterior is kept
    and passed on.
    """

    models: int = 2000
    held_out: int = 200
    seed: int = 20261122
    methods: tuple[str, ...] = ("nuts",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(self.methods))
        check_whole("models", self.models, 50, 10**7)
        check_whole("held_out", self.held_out, 20, 10**6)
        check_whole("seed", self.seed, 0, 2**62)
        if not self.methods:
            raise OptionError(f"methods = () has no sampler; there are {', '.join(METHODS)}")
        for method in self.methods:
            check_choice("methods", method, METHODS)


@dataclass(frozen=True)
class CurveOptions:
    """sizes: training sets of the first stage for which an emulator is trained and judged, beside the whole. published:
    median rms [%] of the emulator that ours is compared with (LUMINA-ML), and models: the training set it had.
    """

    sizes: tuple[int, ...] = (250, 500, 1000)
    published_percent: float = 0.36
    published_models: int = 25_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        for size in self.sizes:
            check_whole("sizes", size, 50, 10**7)
        if list(self.sizes) != sorted(set(self.sizes)):
            raise OptionError(f"sizes = {list(self.sizes)} do not ascend")
        check_whole("published_models", self.published_models, 1, 10**9)


@dataclass(frozen=True)
class CoverageOptions:
    """mocks: observations simulated from models that the emulator never saw; own_mocks: drawn from the emulator itself,
    which test the sampler alone; batch: in one program. warmup, draws: of the two chains of each, whose trees of leaps
    double at most max_tree_depth times, with steps for target_accept.
    """

    mocks: int = 100
    own_mocks: int = 50
    batch: int = 20
    warmup: int = 200
    draws: int = 300
    max_tree_depth: int = 6
    target_accept: float = 0.9
    seed: int = 7

    def __post_init__(self) -> None:
        check_whole("mocks", self.mocks, 2, 10**6)
        check_whole("own_mocks", self.own_mocks, 2, 10**6)
        check_whole("batch", self.batch, 1, 10_000)
        check_whole("warmup", self.warmup, 10, 10**6)
        check_whole("draws", self.draws, 10, 10**6)
        check_whole("max_tree_depth", self.max_tree_depth, 1, 12)
        check_between("target_accept", self.target_accept, 0.5, 0.999)
        check_whole("seed", self.seed, 0, 2**32 - 1)


@dataclass(frozen=True)
class KnockOutOptions:
    """elements: atomic numbers, of those in the ejecta, whose lines are taken out one after the other."""

    elements: tuple[int, ...] = (6, 8, 12, 14, 16, 20, 22, 24, 26, 27, 28)

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", tuple(self.elements))
        if not self.elements:
            raise OptionError("elements = () names no element to knock out")
        for z in self.elements:
            if z not in COMPOSITION_Z:
                known = ", ".join(map(str, COMPOSITION_Z))
                raise OptionError(f"elements: Z = {z} is not in the ejecta; choose of {known}")
