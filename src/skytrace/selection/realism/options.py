"""The bounds of the realism gates: written down before anything is compared, and hashed into the report."""

from __future__ import annotations

from dataclasses import dataclass, field

from skytrace.errors import OptionError, check_between, check_choice, check_whole
from skytrace.imaging.quality import QualityOptions
from skytrace.selection.arcs import ArcOptions
from skytrace.sky import SelectionOptions

__all__ = [
    "COMPARISON_RULE",
    "BlindPanelOptions",
    "ClassifierTestOptions",
    "ComparisonSettings",
    "CrossValidationOptions",
    "GateOptions",
    "LinearProbeOptions",
    "MorphologyOptions",
]

#: What the code of the comparison means: raised by one whenever it changes. 1: anchors as they were found. 2: anchors
#: pass the selection and the quality control of hosts; the arc annulus follows psf_beta. 3: gates 4, 5, 6 and 8 too. 4:
#: gate 5 is judged; the blind panel shows no host twice. 5: gate 8 plants differences of known AUC.
COMPARISON_RULE = 5


@dataclass(frozen=True)
class GateOptions:
    """Bounds. snr_ratio_low, snr_ratio_high: of median, 10th and 90th percentile of the arc S/N, injections / anchors.
    colour_difference_mag: of the medians of g-r and r-z. background_p_min: of KS at background_sample_px pixels.
    min_anchors, min_injections: fewer leave a gate insufficient.

    Comparison sample. observable_snr: least *measured* r-band arc S/N, on both sides; raised to the faint_end_quantile
    of the anchors where their discovery went less deep. Each anchor is compared
    with its ``neighbours`` nearest observable injections in theta_E, PSF, depth and host, counted in steps (``*_step``)
    and no farther than max_distance_steps in any of them.
    n_null: draws for the gates' own pass rate when nothing differs. mask_sigma: of a source in the background;
    arc_margin_fwhm: the background starts at theta_E plus so many FWHM. seed: of resampling.
    """

    snr_ratio_low: float = 0.5
    snr_ratio_high: float = 2.0
    colour_difference_mag: float = 0.2
    background_p_min: float = 0.05
    background_sample_px: int = 2000
    background_resamples: int = 200
    min_anchors: int = 30
    min_injections: int = 100
    observable_snr: float = 5.0
    faint_end_quantile: float = 0.05
    neighbours: int = 32
    max_distance_steps: float = 1.0
    theta_e_step_arcsec: float = 0.25
    psf_fwhm_step_arcsec: float = 0.15
    depth_step_mag: float = 0.5
    host_r_step_mag: float = 1.0
    host_g_r_step_mag: float = 0.3
    n_null: int = 400
    mask_sigma: float = 3.0
    arc_margin_fwhm: float = 3.0
    seed: int = 20260501

    def __post_init__(self) -> None:
        check_between("snr_ratio_low", self.snr_ratio_low, 0.0, 1.0, include_low=False)
        check_between("snr_ratio_high", self.snr_ratio_high, 1.0, 100.0)
        check_between("colour_difference_mag", self.colour_difference_mag, 0.0, 5.0, include_low=False)
        check_between("background_p_min", self.background_p_min, 0.0, 1.0, include_high=False)
        check_between("observable_snr", self.observable_snr, 0.0, 1000.0)
        check_between("faint_end_quantile", self.faint_end_quantile, 0.0, 0.5)
        check_between("max_distance_steps", self.max_distance_steps, 0.0, 100.0, include_low=False)
        steps = (
            "theta_e_step_arcsec",
            "psf_fwhm_step_arcsec",
            "depth_step_mag",
            "host_r_step_mag",
            "host_g_r_step_mag",
        )
        for key in (*steps, "mask_sigma"):
            check_between(key, getattr(self, key), 0.0, 100.0, include_low=False)
        check_between("arc_margin_fwhm", self.arc_margin_fwhm, 0.0, 20.0)
        whole = {"background_sample_px": 10, "background_resamples": 1, "min_anchors": 2, "min_injections": 2}
        whole |= {"neighbours": 1, "n_null": 1, "seed": 0}
        _check_counts(self, **whole)


@dataclass(frozen=True)
class MorphologyOptions:
    """Gate 4. n_permutations: of the energy distance; each anchor is compared with its per_anchor nearest injections.
    n_simulations: mock anchors drawn from the injections, for how often p falls below p_stated where nothing differs.
    How arcs are measured: sectors of the annulus; half_width_fwhm: its half width in FWHM for radius, width and
    profile; rings: of that profile.
    """

    p_stated: float = 0.05
    n_permutations: int = 999
    per_anchor: int = 4
    n_simulations: int = 100
    sectors: int = 12
    half_width_fwhm: float = 1.5
    rings: int = 6
    seed: int = 20260504

    def __post_init__(self) -> None:
        check_between("p_stated", self.p_stated, 0.0, 1.0, include_high=False)
        check_between("half_width_fwhm", self.half_width_fwhm, 0.25, 5.0)
        _check_counts(self, n_permutations=19, per_anchor=1, n_simulations=0, sectors=4, rings=2, seed=0)


@dataclass(frozen=True)
class CrossValidationOptions:
    """folds: whole groups (host or sky cell) apart. per_anchor: matched injections of each anchor. n_permutations: of
    the labels within matched sets, each fitted anew. n_resamples: bootstrap of the scores by groups.
    """

    folds: int = 5
    per_anchor: int = 4
    n_permutations: int = 99
    n_resamples: int = 300
    seed: int = 20260505

    def __post_init__(self) -> None:
        _check_counts(self, folds=2, per_anchor=1, n_permutations=10, n_resamples=50, seed=0)


@dataclass(frozen=True)
class ClassifierTestOptions(CrossValidationOptions):
    """Gate 5. auc_max: bound on the AUC; the whole 95 % interval below it passes, the whole interval above it fails.
    classifier: gradient_boosting (values may be missing) or logistic (medians take their place). stated_aucs: true AUCs
    that the chance to fail is stated for. n_shuffles: of each feature in the scored folds, for its permutation
    importance. n_named: features named.
    """

    auc_max: float = 0.85
    classifier: str = "gradient_boosting"
    stated_aucs: tuple[float, ...] = (0.90, 0.95)
    n_shuffles: int = 10
    n_named: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("auc_max", self.auc_max, 0.5, 1.0, include_high=False)
        _check_stated(self)
        check_choice("classifier", self.classifier, ("gradient_boosting", "logistic"))
        _check_counts(self, n_shuffles=1, n_named=1)


@dataclass(frozen=True)
class LinearProbeOptions(CrossValidationOptions):
    """Gate 8. auc_max: bound on the cross-validated AUC. inverse_regularisation: C of the logistic regression on
    standardised features. arc_snr_step_dex: a step of the matching in log10 of the measured arc S/N, beside the steps
    of GateOptions. n_frechet: permutations of the Frechet distances. n_simulations: mock anchors drawn from the
    injections, for size and power. planted_auc: the AUC of the best linear classifier against the difference that power
    is stated for; stated_aucs: others, of the same trials. min_power: a pass of a test with less power (against
    planted_auc) is insufficient instead.
    """

    auc_max: float = 0.75
    inverse_regularisation: float = 0.01
    arc_snr_step_dex: float = 0.15
    n_frechet: int = 99
    n_simulations: int = 40
    planted_auc: float = 0.95
    stated_aucs: tuple[float, ...] = (0.80, 0.85)
    min_power: float = 0.8
    seed: int = 20260508

    def __post_init__(self) -> None:
        super().__post_init__()
        check_between("auc_max", self.auc_max, 0.5, 1.0, include_high=False)
        check_between("min_power", self.min_power, 0.0, 1.0)
        check_between("planted_auc", self.planted_auc, 0.5, 1.0, include_low=False, include_high=False)
        _check_stated(self)
        check_between("inverse_regularisation", self.inverse_regularisation, 1e-6, 1e3)
        check_between("arc_snr_step_dex", self.arc_snr_step_dex, 0.01, 10.0)
        _check_counts(self, n_frechet=19, n_simulations=0)


@dataclass(frozen=True)
class BlindPanelOptions:
    """Gate 6. stamps: in the panel, half of them anchors. columns: of the figure. arc_snr_step_dex: as of gate 8."""

    stamps: int = 50
    columns: int = 10
    arc_snr_step_dex: float = 0.15
    seed: int = 20260506

    def __post_init__(self) -> None:
        check_between("arc_snr_step_dex", self.arc_snr_step_dex, 0.01, 10.0)
        _check_counts(self, stamps=4, columns=1, seed=0)
        if self.stamps % 2:
            raise OptionError(f"stamps = {self.stamps} must be even: half are anchors, half injections")


@dataclass(frozen=True)
class ComparisonSettings:
    """What decides the comparison beside GateOptions. arcs: how arc light is measured. selection, quality: what hosts
    and anchors pass alike. psf_beta: Moffat index that turns psfsize into the annulus' width. composites_per_anchor:
    injections measured near each anchor. n_stamps: composites in the background gate. morphology, classifier_test,
    blind_panel, linear_probe: gates 4, 5, 6 and 8. comparison_rule: of the code.
    """

    arcs: ArcOptions = field(default_factory=ArcOptions)
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    quality: QualityOptions = field(default_factory=QualityOptions)
    psf_beta: float = 3.5
    composites_per_anchor: int = 48
    n_stamps: int = 600
    morphology: MorphologyOptions = field(default_factory=MorphologyOptions)
    classifier_test: ClassifierTestOptions = field(default_factory=ClassifierTestOptions)
    blind_panel: BlindPanelOptions = field(default_factory=BlindPanelOptions)
    linear_probe: LinearProbeOptions = field(default_factory=LinearProbeOptions)
    comparison_rule: int = COMPARISON_RULE

    def __post_init__(self) -> None:
        check_between("psf_beta", self.psf_beta, 1.0, 10.0, include_low=False)
        _check_counts(self, composites_per_anchor=1, n_stamps=1, comparison_rule=1)


def _check_stated(options: ClassifierTestOptions | LinearProbeOptions) -> None:
    object.__setattr__(options, "stated_aucs", tuple(float(auc) for auc in options.stated_aucs))
    for auc in options.stated_aucs:
        check_between("stated_aucs", auc, 0.5, 1.0, include_low=False, include_high=False)


def _check_counts(options: object, **lowest: int) -> None:
    for key, low in lowest.items():
        check_whole(key, getattr(options, key), low, 2**63 - 1)
