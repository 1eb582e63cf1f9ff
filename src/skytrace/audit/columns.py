"""What a detector may be shown: a whitelist, so that no label and nothing of an injection can reach it.

Design page ``lens_finder``, stage 6: pixels; with metadata fusion also the seeing, the depth and the dust of a stamp.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytrace.errors import LeakageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["METADATA_COLUMNS", "PIXEL_COLUMNS", "check_model_inputs"]

PIXEL_COLUMNS = ("stamps",)
#: Observing conditions: known before anybody looks for a lens.
METADATA_COLUMNS = (*(f"{name}_{band}" for name in ("psfsize", "psfdepth", "galdepth") for band in "grz"), "ebv")
_LABEL_COLUMNS = (
    "label", "tier", "split", "sample_weight", "pool", "confuser_category", "lens_id", "is_anchor", "theta_e_arcsec",
    "score",
)  # fmt: skip
_INJECTION_WORDS = ("theta_e", "einstein", "source", "magnification", "inject", "arc", "lens", "truth", "deflector")


def check_model_inputs(columns: Iterable[str], *, metadata_fusion: bool = False) -> tuple[str, ...]:
    """Return the names of a detector's inputs if each is on the whitelist.

    Raises LeakageError naming every column that is not, and what it looks like: a label, something of an injection, or
    an unknown. With metadata_fusion METADATA_COLUMNS are allowed beside the pixels.
    """
    columns = tuple(str(name) for name in columns)
    allowed = PIXEL_COLUMNS + (METADATA_COLUMNS if metadata_fusion else ())
    offenders = [f"{name!r} ({_what(name, allowed)})" for name in columns if name not in allowed]
    if offenders:
        raise LeakageError(f"the detector would see {', '.join(offenders)}; it may see only {', '.join(allowed)}")
    if not set(PIXEL_COLUMNS) <= set(columns):
        raise LeakageError(f"the detector's inputs {columns} hold no pixels ({', '.join(PIXEL_COLUMNS)})")
    return columns


def _what(name: str, allowed: tuple[str, ...]) -> str:
    if name in _LABEL_COLUMNS:
        return "a label"
    if name in METADATA_COLUMNS:
        return "metadata, allowed with metadata fusion only"
    if any(word in name.lower() for word in _INJECTION_WORDS):
        return "a property of a lens or an injection"
    return unknown_name("not on the whitelist", name, allowed)
