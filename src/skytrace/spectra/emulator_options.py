"""How the emulator of spectra is trained (``spectral_emulator``). Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skytrace.errors import OptionError, check_between, check_choice, check_whole

__all__ = ["EmulatorOptions"]

#: Features of a type Ia supernova [Angstrom, rest], each with its weight in the loss (elsewhere 1).
_WINDOWS = {
    "ca_ii_hk": (3500.0, 4000.0, 2.0),
    "fe_blend": (4600.0, 5200.0, 2.0),
    "s_ii_w": (5200.0, 5700.0, 2.0),
    "si_ii_6355": (5900.0, 6400.0, 2.0),
    "o_i_7774": (7300.0, 7900.0, 2.0),
    "ca_ii_ir": (8000.0, 8800.0, 2.0),
}


@dataclass(frozen=True)
class EmulatorOptions:
    """Network, loss and training.

    hidden: widths of the layers. members: networks of the ensemble, each stopped on a part of its own. windows: name ->
    (low, high, weight) [Angstrom] of the loss; elsewhere the weight is 1. stop_share: share of the training models by
    which a member is stopped; error_share: share that no member sees, which measures the emulator's own error.
    scaled_error: whether a model's error scales with how far the members disagree about it; a posterior is then drawn
    to where they happen to agree, and its intervals are too narrow (those of 68 % held the truth in 51 % of 100
    simulated spectra, 60 % without).
    processes: in which members are trained at the same time; it changes no number.
    distilled: widths of the one small network that learns, from distilled_models predictions of the ensemble over
    distilled_epochs, what the ensemble says and how far its members disagree (Hinton, Vinyals & Dean 2015,
    arXiv:1503.02531), and then takes its place; None: the ensemble itself is the emulator, at several times the cost.
    """

    hidden: tuple[int, ...] = (256,) * 8
    members: int = 3
    windows: Mapping[str, tuple[float, float, float]] = field(default_factory=lambda: dict(_WINDOWS))
    normalise_angstrom: tuple[float, float] = (4000.0, 7000.0)
    softening: float = 0.05
    variance: float = 0.9999
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    batch: int = 64
    epochs: int = 300
    patience: int = 100
    distilled: tuple[int, ...] | None = (256, 256, 256, 128)
    distilled_models: int = 60_000
    distilled_epochs: int = 40
    stop_share: float = 0.05
    error_share: float = 0.1
    error_components: int = 200
    scaled_error: bool = False
    device: str = "cpu"
    processes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not self.hidden:
            raise OptionError("hidden = () has no layer")
        for width in self.hidden:
            check_whole("hidden", width, 1, 8192)
        check_whole("members", self.members, 1, 64)
        if self.distilled is not None:
            object.__setattr__(self, "distilled", tuple(self.distilled))
            if not self.distilled:
                raise OptionError("distilled = () has no layer; None keeps the ensemble")
            for width in self.distilled:
                check_whole("distilled", width, 1, 8192)
        check_whole("distilled_models", self.distilled_models, 100, 10**8)
        check_whole("distilled_epochs", self.distilled_epochs, 1, 1_000_000)
        for name, window in self.windows.items():
            if len(window) != 3:
                raise OptionError(f"windows[{name!r}] = {window!r} is not (low, high, weight)")
            check_between(f"windows[{name!r}][1]", window[1], window[0], 50_000.0, include_low=False)
            check_between(f"windows[{name!r}][2]", window[2], 0.0, 1e3, include_low=False)
        check_between("softening", self.softening, 1e-6, 1e3)
        check_between("variance", self.variance, 0.0, 1.0, include_low=False, include_high=False)
        check_between("learning_rate", self.learning_rate, 0.0, 1.0, include_low=False)
        check_between("weight_decay", self.weight_decay, 0.0, 10.0)
        check_whole("batch", self.batch, 1, 1_000_000)
        check_whole("epochs", self.epochs, 1, 1_000_000)
        check_whole("patience", self.patience, 1, 1_000_000)
        check_between("stop_share", self.stop_share, 0.0, 0.5, include_low=False)
        check_between("error_share", self.error_share, 0.0, 0.5, include_low=False)
        check_whole("error_components", self.error_components, 1, 1000)
        check_whole("processes", self.processes, 1, 256)
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        check_whole("seed", self.seed, 0, 2**32 - 1)
