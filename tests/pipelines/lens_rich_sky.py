"""A small mock sky of many lenses through the nodes that feed the gates, once without a fault: what faults are put in.

The sky's options are its own: nearly every galaxy is a massive early type, most are lenses, and they were discovered
down to a third of the usual arc S/N. The injections' source magnitudes are those that such a search finds. Nothing else
is arranged: the lenses are drawn by the mock's population and the injections by the priors of injections.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.imaging import PreprocessOptions
from skytrace.imaging.quality import QualityOptions
from skytrace.lensing.population import PopulationOptions
from skytrace.pipelines.injection_recovery.anchors import measure_anchors, measure_composites
from skytrace.pipelines.injection_recovery.gates import check_realism
from skytrace.pipelines.injection_recovery.nodes import choose_hosts
from skytrace.pipelines.injection_recovery.shards import Campaign, run_campaign
from skytrace.selection.arcs import ArcOptions
from skytrace.selection.grid import GridOptions
from skytrace.selection.hosts import HostOptions
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.realism import (
    BlindPanelOptions,
    ClassifierTestOptions,
    GateOptions,
    LinearProbeOptions,
    MorphologyOptions,
)
from skytrace.sky import SelectionOptions
from skytrace.surveys.mock.options import MockSurveyOptions
from skytrace.surveys.mock.survey import MockSurvey

from ..selection.fake_sky import random_detector

SKY = MockSurveyOptions(
    n_galaxies=640, seed=3, lens_fraction=0.85, confuser_fraction=0.0, early_fraction=1.0, massive_fraction=1.0,
    galaxies_per_pointing=80, arc_snr_half=12.0, artefact_fraction=0.0, threads=1,
)  # fmt: skip
SELECTION = SelectionOptions(dec_min_deg=-90.0, dec_max_deg=90.0, nobs_min=1)
GRID = GridOptions(
    (1.25, 1.75, 2.25), (1.05, 1.5), (24.0, 25.0), injections_per_cell=100, theta_e_in_cell="uniform"
)  # fmt: skip
HOSTS = HostOptions(min_matched_hosts=1, degraded_hosts=False, max_injections_per_host=100)
POPULATION = PopulationOptions(mag_r_max=23.2, position_rule="magnification")
INJECTION = InjectionOptions(batch_size=64, n_stamps=40, composites_per_anchor=60)
#: The registered bounds; few resamplings, and a little farther to look for matches than in the large default.
GATES = GateOptions(max_distance_steps=2.0, n_null=50, background_resamples=50)
MORPHOLOGY = MorphologyOptions(n_permutations=199, n_simulations=0)
CLASSIFIER = ClassifierTestOptions(classifier="logistic", n_permutations=19, n_resamples=200, n_shuffles=2)
PROBE = LinearProbeOptions(n_permutations=19, n_resamples=100, n_frechet=19, n_simulations=10)
PREPROCESS, QUALITY, ARCS = PreprocessOptions(), QualityOptions(), ArcOptions()


class Published(MockSurvey):
    """The sky, of whose lenses the first ``n`` with a published theta_E are known."""

    n: int | None = None

    def lenses(self) -> pd.DataFrame:
        known = super().lenses()
        return known[known["theta_e_arcsec"].notna()].head(self.n).reset_index(drop=True)


@dataclass(frozen=True)
class Composites:
    """What ``measure_composites`` gives."""

    table: pd.DataFrame
    background: dict[str, np.ndarray]
    stamps: dict[str, np.ndarray]


@dataclass(frozen=True)
class Rehearsal:
    """One sky, its hosts and its injections."""

    survey: MockSurvey
    detector: Any
    split: pd.DataFrame
    hosts: pd.DataFrame
    conditions: pd.DataFrame
    injections: pd.DataFrame

    @classmethod
    def of(cls, folder: Path) -> "Rehearsal":
        survey, detector = MockSurvey(folder / "sky", SKY), random_detector()
        survey.make()
        split = survey.galaxies()[["galaxy_id", "ra", "dec"]].assign(split="test")
        hosts, conditions, _ = choose_hosts(survey, split, SELECTION, HOSTS, GRID, PREPROCESS, QUALITY)
        campaign = Campaign(GRID, POPULATION, INJECTION, PREPROCESS, hosts, conditions)
        injections = run_campaign(
            campaign, detector, survey, folder=folder / "shards", cluster=ClusterOptions(workers=1)
        )
        return cls(survey, detector, split, hosts, conditions, injections)

    def anchors(self, n: int | None = None) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
        known = Published(self.survey.folder, SKY)
        known.n = n
        return measure_anchors(
            known, self.detector, self.split, SELECTION, GRID, INJECTION, PREPROCESS, QUALITY, GATES, ARCS, MORPHOLOGY
        )

    def composites(self, anchors: pd.DataFrame) -> Composites:
        return Composites(
            *measure_composites(
                self.survey, self.detector, self.hosts, self.conditions, self.injections, anchors, GRID, POPULATION,
                INJECTION, PREPROCESS, GATES, ARCS, MORPHOLOGY,
            )
        )  # fmt: skip

    def report(
        self, anchors: pd.DataFrame, anchor_stamps: dict[str, np.ndarray], composites: Composites
    ) -> dict[str, Any]:
        return check_realism(
            anchors, composites.table, anchor_stamps, composites.stamps, self.injections, composites.background,
            self.hosts, self.detector, SELECTION, INJECTION, QUALITY, ARCS, GATES, MORPHOLOGY, CLASSIFIER,
            BlindPanelOptions(), PROBE,
        )[0]  # fmt: skip
