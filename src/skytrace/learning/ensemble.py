"""An ensemble of detectors, each specialised in a domain (seeing, depth, type), that together see one image budget.

Members are trained one after the other, each with its own checkpoint; finished ones are kept until the whole is done.
Their scores are averaged, or stacked by ``learning.stacking``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.compute import fingerprint
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.errors import CatalogueError, OptionError
from skytrace.learning.checkpoint import Checkpoint
from skytrace.learning.detector import Detector
from skytrace.learning.options import EnsembleOptions, MemberOptions, TrainingOptions
from skytrace.learning.scoring import score_stamps
from skytrace.learning.stacking import cross_fitted_scores, fit_stacking, stacked_scores
from skytrace.learning.training import train_detector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.learning.labelled import LabelledStamps
    from skytrace.learning.store import StampStore

__all__ = ["Ensemble", "domain_mask", "train_ensemble"]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """members: detectors by name. card: JSON-ready; the entries that code reads are those of a Detector's card, and
    "options" (EnsembleOptions) and "stacking" (coefficients, absent where scores are averaged). Never changed.
    """

    members: dict[str, Detector]
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = [member.name for member in self.options.members]
        if list(self.members) != expected:
            raise OptionError(f"an ensemble of {', '.join(expected)} was given members {', '.join(self.members)}")
        if self.options.combination == "stacked" and "stacking" not in self.card:
            raise OptionError("this ensemble is stacked, but its card holds no coefficients under 'stacking'")

    @property
    def options(self) -> EnsembleOptions:
        """The choices it was trained with."""
        chosen = dict(self.card["options"])
        members = tuple(MemberOptions(**dict(member)) for member in chosen.pop("members"))
        return EnsembleOptions(members=members, **chosen)

    @property
    def stamp_shape(self) -> tuple[int, int, int]:
        """(band, y, x) of the stamps that it was trained on."""
        return next(iter(self.members.values())).stamp_shape

    @property
    def metadata_columns(self) -> tuple[str, ...]:
        """Columns that ``score`` needs: of the members' fused metadata, and of their domains where stacked."""
        fused = [name for member in self.members.values() for name in member.metadata_columns]
        domains = [member.column for member in self.options.members if member.column]
        return tuple(dict.fromkeys([*fused, *(domains if self.options.combination == "stacked" else [])]))

    @property
    def threshold(self) -> float:
        """The score from which on a stamp counts as detected; OptionError while none was chosen."""
        return self._as_detector().threshold

    def with_card(self, **entries: Any) -> Ensemble:
        """The same members with further (or replaced) entries of the card."""
        return replace(self, card={**self.card, **entries})

    def check_preprocessing(self, checksum: str) -> None:
        """Raise PixelError unless stamps were prepared as in training (``imaging.preprocessing_checksum``)."""
        self._as_detector().check_preprocessing(checksum)

    def score(
        self, stamps: NDArray[np.float32] | StampStore, *, metadata: pd.DataFrame | None = None, **passes: Any
    ) -> NDArray[np.float64]:
        """One score (n,) a stamp, in [0, 1]; arguments and errors as of ``score_stamps``.

        Raises CatalogueError where metadata lacks one of ``metadata_columns``.
        """
        return self.combine(self.member_scores(stamps, metadata=metadata, **passes), metadata=metadata)

    def member_scores(
        self, stamps: NDArray[np.float32] | StampStore, *, metadata: pd.DataFrame | None = None, **passes: Any
    ) -> pd.DataFrame:
        """Scores of every member, one column each; arguments and errors as of ``score_stamps``."""
        return pd.DataFrame(
            {name: score_stamps(member, stamps, metadata=metadata, **passes) for name, member in self.members.items()}
        )

    def combine(self, scores: pd.DataFrame, *, metadata: pd.DataFrame | None = None) -> NDArray[np.float64]:
        """The ensemble's scores (n,) from those of its members (``member_scores``)."""
        if self.options.combination == "mean":
            return scores[list(self.members)].to_numpy().mean(axis=1)
        return stacked_scores(self.card["stacking"], scores, domains_of(metadata, self.options, rows=len(scores)))

    def _as_detector(self) -> Detector:
        first = next(iter(self.members.values()))
        return Detector(first.architecture, {}, {k: v for k, v in self.card.items() if k != "metadata"})


def train_ensemble(
    training: LabelledStamps,
    validation: LabelledStamps,
    *,
    options: TrainingOptions | None = None,
    ensemble: EnsembleOptions,
    checkpoint_folder: str | Path | None = None,
) -> tuple[Ensemble, pd.DataFrame, pd.DataFrame]:
    """(ensemble, history, validation scores), trained on as many images as ``options`` gives to one network.

    options: of the single network; every member gets images_per_epoch / (number of members) and a seed of its own.
    history: one row a member and epoch. Validation scores: label, one column a member, "mean", and with stacking
    "stacked", cross-fitted: no stamp is scored by a meta-learner that was fitted to it, so thresholds and calibrations
    may be chosen on it. Raises CatalogueError where metadata lacks a domain's column or a domain is empty; otherwise
    as ``train_detector``, which also describes checkpoint_folder.
    """
    options = options or TrainingOptions()
    domains = domains_of(training.metadata, ensemble, rows=len(training.labels))
    validation_domains = domains_of(validation.metadata, ensemble, rows=len(validation.labels))
    samples = fingerprint(training.fingerprint(), validation.fingerprint()) if checkpoint_folder is not None else ""
    members, histories, kept = {}, [], []
    for number, member in enumerate(ensemble.members):
        chosen = replace(
            options,
            architecture=member.architecture,
            images_per_epoch=max(options.batch_size, options.images_per_epoch // len(ensemble.members)),
            domain_share=ensemble.domain_share if member.column else 0.0,
            seed=options.seed + number,
        )
        own = replace(training, in_domain=domains[member.name].to_numpy() if member.column else None)
        finished = None
        if checkpoint_folder is not None:
            key = fingerprint(source_fingerprint("skytrace.learning"), samples, member, chosen)
            finished = Checkpoint(Path(checkpoint_folder), f"member-{key}")
            kept.append(finished)
        detector, history = _trained_member(own, validation, chosen, finished, checkpoint_folder)
        members[member.name] = detector
        histories.append(pd.DataFrame(history).assign(member=member.name))
    scores = pd.DataFrame(
        {name: score_stamps(m, validation.stamps, metadata=validation.metadata) for name, m in members.items()}
    )
    card: dict[str, Any] = {
        "options": json.loads(json.dumps(asdict(ensemble))),  # lists for tuples, as they come back from disk
        "stamp_shape": [int(side) for side in training.stamps.shape[1:]],
        "image_budget": _budget(options, members),
        "domains": {name: _domain_record(domains[name], training.labels) for name in domains},
        "training_sample": training.summary,
        "validation_sample": validation.summary,
        "score_prior": _score_prior(ensemble, members, validation.labels),
    }
    table = pd.DataFrame({"label": validation.labels, **scores, "mean": scores.to_numpy().mean(axis=1)})
    if ensemble.combination == "stacked":
        card["stacking"] = fit_stacking(scores, validation_domains, validation.labels, options=ensemble)
        table["stacked"] = cross_fitted_scores(scores, validation_domains, validation.labels, options=ensemble)
    whole = Ensemble(members, card)
    for checkpoint in kept:
        checkpoint.remove()
    return whole, pd.concat(histories, ignore_index=True), table


def domain_mask(metadata: pd.DataFrame | None, member: MemberOptions) -> NDArray[np.bool_]:
    """Which rows (n,) of the table lie in the member's domain; a missing value lies in none. Without a column: all.

    Raises CatalogueError without the table or its column.
    """
    if metadata is None or (member.column and member.column not in metadata.columns):
        raise CatalogueError(
            f"the domain of member {member.name!r} needs metadata=, one row a stamp, with the column {member.column!r}"
        )
    if not member.column:
        return np.ones(len(metadata), dtype=bool)
    if member.values:
        return metadata[member.column].astype(str).isin(member.values).to_numpy()
    values = metadata[member.column].to_numpy(dtype=np.float64)
    low, high = (-np.inf if member.low is None else member.low), (np.inf if member.high is None else member.high)
    return (values >= low) & (values < high)


def domains_of(metadata: pd.DataFrame | None, options: EnsembleOptions, *, rows: int) -> pd.DataFrame:
    """One bool column a member: which of the ``rows`` stamps lie in its domain."""
    if metadata is None and not any(member.column for member in options.members):
        metadata = pd.DataFrame(index=range(rows))
    domains = pd.DataFrame({member.name: domain_mask(metadata, member) for member in options.members})
    if len(domains) != rows:
        raise CatalogueError(f"metadata has {len(domains)} rows for {rows} stamps; give one row a stamp")
    return domains


def _trained_member(
    training: LabelledStamps,
    validation: LabelledStamps,
    options: TrainingOptions,
    finished: Checkpoint | None,
    checkpoint_folder: str | Path | None,
) -> tuple[Detector, list[dict[str, float]]]:
    """The member that was finished earlier, or a newly trained one, which is kept from then on."""
    if training.in_domain is not None and not training.in_domain.any():
        raise CatalogueError("the domain of an ensemble's member holds none of the training stamps; widen it")
    stored = finished.load() if finished is not None else None
    if stored is not None:
        tensors, record = stored
        state = {name: tensor.numpy().copy() for name, tensor in tensors.items()}
        return Detector(record["architecture"], state, record["card"]), record["history"]
    detector, history = train_detector(training, validation, options=options, checkpoint_folder=checkpoint_folder)
    if finished is not None:
        import torch

        tensors = {name: torch.from_numpy(values) for name, values in detector.state.items()}
        finished.save(tensors, {"architecture": detector.architecture, "card": detector.card, "history": history})
    return detector, history


def _budget(options: TrainingOptions, members: dict[str, Detector]) -> dict[str, Any]:
    per_member = {
        name: TrainingOptions(**m.card["options"]).steps_per_epoch * options.batch_size for name, m in members.items()
    }
    return {
        "images_per_epoch_single_network": options.steps_per_epoch * options.batch_size,
        "images_per_epoch_ensemble": sum(per_member.values()),
        "images_per_epoch_of_member": per_member,
        "epochs": options.epochs,
        "note": "a member sees its share of the single network's images; whole batches only, so never more",
    }


def _domain_record(mask: pd.Series, labels: NDArray[np.int64]) -> dict[str, int]:
    return {
        "lenses": int((mask.to_numpy() & (labels == 1)).sum()),
        "galaxies": int((mask.to_numpy() & (labels == 0)).sum()),
    }


def _score_prior(ensemble: EnsembleOptions, members: dict[str, Detector], labels: NDArray[np.int64]) -> dict[str, Any]:
    if ensemble.combination == "mean":
        return dict(next(iter(members.values())).card["score_prior"])
    return {
        "lens_share": float(labels.mean()),
        "meaning": "share of lenses in the validation sample: scores are probabilities at this prevalence only",
    }
