"""Risks of learning from positives and unlabelled rows, with the logistic loss, for trees (numpy) and networks (torch).

With prior pi = P(y = 1) and l(z, y) = ln(1 + exp(-y z)), the risk of a logit z at a *target* prior t is
    R = t E_P[l(z, +1)] + N,   N = (1 - t) / (1 - pi) (E_U[l(z, -1)] - pi E_P[l(z, -1)]),
which for t = pi is the unbiased risk of du Plessis, Niu & Sugiyama (2015, ICML, eq. 3). N is a negatives' risk and
cannot be negative, but its estimate can: Kiryo et al. (2017, NeurIPS, algorithm 1) descend on R while N >= -beta, and
on -gamma N, which undoes the overfit, while it is not. t = 1/2 is the class-balanced form (Su, Chen & Xu 2021, IJCAI,
eq. 9): its logits are at odds of one and are shifted back to pi with ``shifted_logits``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from skytrace.errors import OptionError, check_between, check_choice

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray

__all__ = ["PURisk", "nn_pu_loss", "shifted_logits"]

_KINDS = ("non_negative", "unbiased")


def shifted_logits(logits: ArrayLike, *, from_prior: float, to_prior: float) -> NDArray[np.float64]:
    """The same likelihood ratios at another share of positives (Saerens, Latinne & Decaestecker 2002, eq. 2.4)."""
    for key, value in (("from_prior", from_prior), ("to_prior", to_prior)):
        check_between(key, value, 0.0, 1.0, include_low=False, include_high=False)
    odds = to_prior / (1.0 - to_prior) * (1.0 - from_prior) / from_prior
    return np.asarray(logits, dtype=np.float64) + np.log(odds)


@dataclass(frozen=True)
class PURisk:
    """Which risk. prior: share of positives among the unlabelled. kind: non_negative (Kiryo) or unbiased (uPU).

    gamma: strength of the step that undoes an overfit. beta: how negative N may become before it. balanced: target
    prior 1/2 in place of the prior itself. Raises OptionError on values outside their range.
    """

    prior: float
    kind: str = "non_negative"
    gamma: float = 1.0
    beta: float = 0.0
    balanced: bool = False

    def __post_init__(self) -> None:
        check_between("prior", self.prior, 0.0, 1.0, include_low=False, include_high=False)
        check_choice("kind", self.kind, _KINDS)
        check_between("gamma", self.gamma, 0.0, 1.0)
        check_between("beta", self.beta, 0.0, np.inf)

    @property
    def target_prior(self) -> float:
        """Share of positives at which the minimiser's logits are log-odds."""
        return 0.5 if self.balanced else self.prior

    @property
    def negative_weight(self) -> float:
        """(1 - t) / (1 - pi), the factor of N."""
        return (1.0 - self.target_prior) / (1.0 - self.prior)

    def parts(self, positive_logits: ArrayLike, unlabelled_logits: ArrayLike) -> tuple[float, float]:
        """(t E_P[l(z, +1)], N): the positives' part of the risk and the negatives', which may be below zero."""
        z_p, z_u = np.asarray(positive_logits, np.float64), np.asarray(unlabelled_logits, np.float64)
        negative = np.logaddexp(0.0, z_u).mean() - self.prior * np.logaddexp(0.0, z_p).mean()
        return float(self.target_prior * np.logaddexp(0.0, -z_p).mean()), float(self.negative_weight * negative)

    def value(self, positive_logits: ArrayLike, unlabelled_logits: ArrayLike) -> float:
        """The risk: R, for non_negative with N no lower than -beta."""
        positive, negative = self.parts(positive_logits, unlabelled_logits)
        return positive + (negative if self.kind == "unbiased" else max(-self.beta, negative))

    def derivatives(
        self, positive_logits: ArrayLike, unlabelled_logits: ArrayLike
    ) -> tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]:
        """((gradient, curvature) of the positives' logits, the same of the unlabelled), of the risk to descend on.

        The curvature is that of an upper bound and never negative: l(z, -1) of the positives enters the risk with a
        minus sign, and with the logistic loss it makes R linear in their logits where t = pi.
        """
        z_p, z_u = np.asarray(positive_logits, np.float64), np.asarray(unlabelled_logits, np.float64)
        share_p, share_u = expit(z_p), expit(z_u)
        negative_p = -self.negative_weight * self.prior / len(z_p) * share_p
        negative_u = self.negative_weight / len(z_u) * share_u
        curved_p = self.target_prior / len(z_p) * share_p * (1.0 - share_p)
        curved_u = negative_u * (1.0 - share_u)
        if self.kind == "non_negative" and self.parts(z_p, z_u)[1] < -self.beta:
            return (-self.gamma * negative_p, curved_p), (-self.gamma * negative_u, curved_u)
        positive_p = -self.target_prior / len(z_p) * (1.0 - share_p)
        return (positive_p + negative_p, curved_p), (negative_u, curved_u)


def nn_pu_loss(
    positive_logits: torch.Tensor,
    unlabelled_logits: torch.Tensor,
    *,
    prior: float,
    gamma: float = 1.0,
    beta: float = 0.0,
    balanced: bool = True,
) -> torch.Tensor:
    """Scalar whose value is the non-negative risk and whose gradient is that of Kiryo's algorithm 1.

    positive_logits (n_p,), unlabelled_logits (n_u,): one batch each, from loaders of their own, so that every step has
    positives. Options as ``PURisk``. Raises OptionError on an empty batch or an option outside its range.
    """
    from torch.nn.functional import softplus

    risk = PURisk(prior, gamma=gamma, beta=beta, balanced=balanced)
    for key, batch in (("positive_logits", positive_logits), ("unlabelled_logits", unlabelled_logits)):
        if batch.ndim != 1 or not len(batch):
            raise OptionError(f"{key} has shape {tuple(batch.shape)}; it must be (n,) with n > 0")
    positive = risk.target_prior * softplus(-positive_logits).mean()
    outside = softplus(unlabelled_logits).mean() - risk.prior * softplus(positive_logits).mean()
    negative = risk.negative_weight * outside
    if negative.detach() >= -beta:
        return positive + negative
    undo = -gamma * negative
    return undo + (positive - beta - undo).detach()
