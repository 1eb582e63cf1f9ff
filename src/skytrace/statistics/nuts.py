"""One chain of NumPyro's NUTS as a function to be compiled with the density that it samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["nuts_draws"]


def nuts_draws(
    key: Any, energy: Callable[[Any], Any], shape: tuple[int, ...], dtype: Any, *, n_warmup: int, n_samples: int,
    target_accept: float, max_tree_depth: int, start_width: float = 1.0, step_size: float = 1.0,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """w (n_samples, d) with density exp(-energy(w)), and diverging, n_steps and acceptance (n_samples,) of each.

    shape (d,) and dtype: of w, which starts at a normal draw of start_width: coordinates in which the density is near
    a standard normal one are what step_size is meant for. Call it inside a jitted function.
    """
    from numpyro.infer.hmc import hmc

    initialise, step = hmc(potential_fn=energy, algo="NUTS")
    first, second = jax.random.split(key)
    state = initialise(
        start_width * jax.random.normal(first, shape, dtype=dtype), n_warmup, step_size=step_size,
        max_tree_depth=max_tree_depth, target_accept_prob=target_accept, rng_key=second,
    )  # fmt: skip

    def advance(state: Any, _: Any) -> tuple[Any, Any]:
        state = step(state)
        return state, (state.z, state.diverging, state.num_steps, state.accept_prob)

    # one loop: the kernel itself knows where its warm-up ends
    _, kept = jax.lax.scan(advance, state, None, length=n_warmup + n_samples)
    return tuple(column[n_warmup:] for column in kept)
