"""The exceptions of the project. Each says what was wrong, with the name and the value, and what to do next."""

import contextlib
import difflib
import os
from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "AccessError",
    "CatalogueError",
    "LeakageError",
    "OptionError",
    "PixelError",
    "RealismGateFailed",
    "SelectionEnvelopeError",
    "ShardError",
    "SimulatorError",
    "SkytraceError",
    "SurveyError",
    "check_between",
    "check_choice",
    "check_names",
    "check_whole",
    "reading",
    "unknown_name",
]

#: Names that an error lists whole, and of more, how many that are like the one that was asked for.
_NAMES_SHOWN, _NAMES_LIKE_IT = 100, 8


class SkytraceError(Exception):
    """Base of everything that skytrace raises on purpose."""


class OptionError(SkytraceError, ValueError):
    """A parameter is outside its allowed range; the message names the key, the value and the range."""


class SurveyError(SkytraceError):
    """A survey source is missing, incomplete, or answered with something that is not sky."""


class CatalogueError(SkytraceError, ValueError):
    """A table lacks a column, is empty, or repeats an identifier."""


class PixelError(SkytraceError, ValueError):
    """Pixels have the wrong shape, band order, unit or weight."""


class LeakageError(SkytraceError):
    """Something that the detector must not know has reached it."""


class RealismGateFailed(SkytraceError):
    """A realism gate was required to pass and did not."""


class SelectionEnvelopeError(SkytraceError, ValueError):
    """A selection function was asked about a lens outside the envelope in which it was measured."""


class ShardError(SkytraceError):
    """A shard of a long computation could not be written or read back whole."""


class AccessError(SkytraceError, PermissionError):
    """This user may not read or write a file. It may be whole: it is neither deleted nor computed again."""


class SimulatorError(SkytraceError):
    """A simulator gave no usable spectrum of a model; the message is the reason."""


@contextlib.contextmanager
def reading(path: str | os.PathLike, what: str, error: type[SkytraceError] = SurveyError) -> Iterator[None]:
    """Whatever a broken file provokes in a reader becomes ``error``, "<path> cannot be read as <what>: ..."; errors of
    skytrace pass as they are. Libraries answer broken files with any exception, MemoryError and TypeError among them.
    """
    try:
        yield
    except SkytraceError:
        raise
    except Exception as cause:
        words = str(cause) or type(cause).__name__
        raise error(f"{os.fspath(path)} cannot be read as {what}: {words}") from cause


def check_between(
    key: str, value: float, low: float, high: float, *, include_low: bool = True, include_high: bool = True
) -> None:
    """Raise OptionError unless ``low <= value <= high`` (ends excluded on request; NaN never passes)."""
    try:
        above = value >= low if include_low else value > low
        below = value <= high if include_high else value < high
    except TypeError as error:
        raise OptionError(f"{key} = {value!r} is not a number") from error
    if not (above and below):
        left, right = ("[" if include_low else "("), ("]" if include_high else ")")
        ends = ", ".join(str(end) if isinstance(end, int) else f"{end:g}" for end in (low, high))
        raise OptionError(f"{key} = {value!r} is outside its allowed range {left}{ends}{right}")


def check_whole(key: str, value: float, low: float, high: float) -> None:
    """Raise OptionError unless ``value`` is a whole number with ``low <= value <= high``; 1e3 is one."""
    check_between(key, value, low, high)
    if int(value) != value:
        raise OptionError(f"{key} = {value!r} is not a whole number")


def check_choice(key: str, value: object, choices: tuple) -> None:
    """Raise OptionError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise OptionError(f"{key} = {value!r} is not one of {', '.join(map(str, choices))}")


def check_names(owner: str, names: Iterable[object], known: Sequence[str]) -> None:
    """Raise OptionError unless all ``names`` are among ``known``, the options that ``owner`` has; names every other."""
    wrong = [unknown_name(f"{owner} has no option {name!r}", name, known) for name in names if name not in known]
    if wrong:
        raise OptionError("; ".join(wrong))


def unknown_name(problem: str, name: object, known: Sequence[str]) -> str:
    """``problem`` with the name that was probably meant, and all that there are; of many, those that are like it."""
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    if len(known) <= _NAMES_SHOWN:
        return f"{problem}; {hint}there are {', '.join(known)}"
    like = difflib.get_close_matches(str(name), known, n=_NAMES_LIKE_IT, cutoff=0.0)
    return f"{problem}; {hint}of {len(known)} names these are most like it: {', '.join(like)}"
