"""What JAX computes has the same bytes on any number of cores, once skytrace is imported before it."""

import os
import subprocess
import sys

import pytest

#: A Hessian over so many rows that XLA shares its sums among threads where it has any.
PROGRAM = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(sys.argv[1])])
import skytrace
import hashlib
import jax
import jax.numpy as jnp
import numpy as np
jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(1)
x, y, b = (jnp.asarray(rng.normal(size=shape)) for shape in ((60_000, 8), 60_000, 8))
second = jax.jit(jax.hessian(lambda b: jnp.sum(jnp.log1p((y - x @ b) ** 2))))(b)
print(hashlib.sha256(np.asarray(second).tobytes()).hexdigest())
"""


def _digest(cores: int, **threads: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("NPROC", "XLA_FLAGS")}
    command = [sys.executable, "-c", PROGRAM, str(cores)]
    done = subprocess.run(command, env=environment | threads, capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not let a process choose its cores")
def test_xla_sums_in_one_order_on_any_number_of_cores():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core")
    assert _digest(1) == _digest(2)
    assert _digest(2, NPROC="2") != _digest(2), "what the variable is for: a sum in two pieces has other digits"
