import numpy as np
import pytest
import torch

from skytrace.errors import OptionError
from skytrace.learning.pu_losses import PURisk, nn_pu_loss, shifted_logits

RNG = np.random.default_rng(3)
POSITIVE, NEGATIVE = RNG.normal(1.0, 1.0, 30), RNG.normal(-1.0, 1.0, 270)
OVERFIT = np.full(8, 6.0), np.full(40, -6.0)  # positives far up, unlabelled far down: N < 0


def logistic(z, sign):
    return np.log1p(np.exp(-sign * z))


def test_risk_of_an_exact_mixture_is_the_supervised_risk_at_the_target_prior():
    """Unlabelled rows that are 1 part positives and 9 parts negatives: pi = 0.1 exactly, so N holds only negatives."""
    unlabelled = np.r_[POSITIVE, NEGATIVE]
    for balanced, target in ((False, 0.1), (True, 0.5)):
        risk = PURisk(0.1, kind="unbiased", balanced=balanced)
        supervised = target * logistic(POSITIVE, 1).mean() + (1 - target) * logistic(NEGATIVE, -1).mean()
        assert risk.value(POSITIVE, unlabelled) == pytest.approx(supervised, rel=1e-12)


def test_negative_part_is_held_at_minus_beta_only_in_the_non_negative_risk():
    for beta in (0.0, 0.3):
        positive, negative = PURisk(0.4, beta=beta).parts(*OVERFIT)
        assert negative < -1.0
        assert PURisk(0.4, beta=beta).value(*OVERFIT) == pytest.approx(positive - beta)
        assert PURisk(0.4, kind="unbiased").value(*OVERFIT) == pytest.approx(positive + negative)


@pytest.mark.parametrize("balanced", [False, True])
def test_derivatives_are_those_of_the_risk_where_the_negatives_risk_is_positive(balanced):
    risk, z_p, z_u, step = PURisk(0.05, balanced=balanced), POSITIVE, np.r_[POSITIVE[:3], NEGATIVE], 1e-5
    (gradient_p, curved_p), (gradient_u, curved_u) = risk.derivatives(z_p, z_u)
    for k in (0, 7):
        bump_p, bump_u = np.eye(len(z_p))[k] * step, np.eye(len(z_u))[k] * step
        assert gradient_p[k] == pytest.approx(
            (risk.value(z_p + bump_p, z_u) - risk.value(z_p - bump_p, z_u)) / (2 * step), rel=1e-5
        )
        assert gradient_u[k] == pytest.approx(
            (risk.value(z_p, z_u + bump_u) - risk.value(z_p, z_u - bump_u)) / (2 * step), rel=1e-5
        )
    assert (curved_p > 0).all() and (curved_u > 0).all()


@pytest.mark.parametrize("gamma", [1.0, 0.25, 0.0])
def test_an_overfit_is_undone_by_gamma_times_the_negatives_gradient_alone(gamma):
    """Kiryo et al. 2017, algorithm 1, line 8: the step ascends N and the positives' own loss is left out."""
    z_p, z_u = OVERFIT
    (gradient_p, _), (gradient_u, _) = PURisk(0.4, gamma=gamma).derivatives(z_p, z_u)
    np.testing.assert_allclose(gradient_u, -gamma / (1 + np.exp(6.0)) / 40, rtol=1e-12)  # up: gradient is negative
    np.testing.assert_allclose(gradient_p, gamma * 0.4 / (1 + np.exp(-6.0)) / 8, rtol=1e-12)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize(("z_p", "z_u"), [(POSITIVE, NEGATIVE), OVERFIT])
def test_torch_loss_has_the_value_and_the_gradient_of_the_trees_objective(balanced, z_p, z_u):
    risk = PURisk(0.4, gamma=0.7, beta=0.01, balanced=balanced)
    p, u = (torch.tensor(z, dtype=torch.float64, requires_grad=True) for z in (z_p, z_u))
    loss = nn_pu_loss(p, u, prior=0.4, gamma=0.7, beta=0.01, balanced=balanced)
    loss.backward()
    (gradient_p, _), (gradient_u, _) = risk.derivatives(z_p, z_u)
    assert loss.item() == pytest.approx(risk.value(z_p, z_u), rel=1e-12)
    np.testing.assert_allclose(p.grad, gradient_p, rtol=1e-10)
    np.testing.assert_allclose(u.grad, gradient_u, rtol=1e-10)


def test_torch_loss_stays_finite_in_single_precision_at_extreme_logits():
    p = torch.tensor([-200.0, 200.0], requires_grad=True)
    loss = nn_pu_loss(p, torch.tensor([300.0, -300.0]), prior=1e-4)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(p.grad).all()


def test_shifted_logits_keep_the_likelihood_ratio():
    # even odds at a prior of 1/2 are a likelihood ratio of 1: the posterior is the prior
    assert shifted_logits(0.0, from_prior=0.5, to_prior=0.01) == pytest.approx(np.log(0.01 / 0.99))
    z = np.linspace(-3, 3, 5)
    there = shifted_logits(z, from_prior=0.3, to_prior=1e-4)
    np.testing.assert_allclose(shifted_logits(there, from_prior=1e-4, to_prior=0.3), z, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"prior": 0.0}, r"prior = 0.0 .*\(0, 1\)"),
        ({"prior": 1.0}, r"prior = 1.0 .*\(0, 1\)"),
        ({"prior": 0.1, "gamma": 2.0}, r"gamma = 2.0 .*\[0, 1\]"),
        ({"prior": 0.1, "beta": -1.0}, r"beta = -1.0 .*\[0, inf\]"),
        ({"prior": 0.1, "kind": "sigmoid"}, "kind = 'sigmoid' is not one of"),
    ],
)
def test_an_impossible_risk_is_named(options, named):
    with pytest.raises(OptionError, match=named):
        PURisk(**options)


def test_an_empty_batch_of_positives_is_named():
    with pytest.raises(OptionError, match=r"positive_logits has shape \(0,\)"):
        nn_pu_loss(torch.zeros(0), torch.zeros(4), prior=0.1)
