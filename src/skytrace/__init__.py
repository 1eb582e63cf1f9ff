"""skytrace: astronomy pipelines whose every reported number can be traced to the raw sky it came from."""

import os

__version__ = "0.1.0"

# XLA (JAX on a CPU) cuts sums into as many pieces as this machine has cores, which changes their last digits; it looks
# at this variable alone, once. A number that is set already stays: faster on large problems, other digits.
os.environ.setdefault("NPROC", "1")
