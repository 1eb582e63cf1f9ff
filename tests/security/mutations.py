"""Broken files: small valid ones, changed as disks, networks, careless editors and ill will change them."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: Put in place of a number or a word of a text.
WORDS = (
    b"", b"nan", b"NaN", b"inf", b"-inf", b"1e400", b"-1", b"0", b"99999999999999999999999", b"1e-320", b"--", b"''",
    b'"', b",", b"\x00", b"\xff\xfe", b"\xc3\xa9", b"true", b"!!python/object/apply:os.system ['x']", b"a" * 5000,
    b"0x10", b"1_000", b"[1, 2]", b"{", b"}", b"\n", b"\r", b"\t", b"# ", b"<script>",
)  # fmt: skip
#: Put in place of the value of a card of a FITS header.
CARD_VALUES = (
    b"-1", b"0", b"1", b"3", b"8", b"-64", b"1000", b"99999999", b"2147483648", b"9999999999999", b"1e300", b"T", b"F",
    b"'1E      '", b"'99999999A'", b"'1PE(9999)'", b"'1QD(9)'", b"'(9999,99999)'", b"'J'", b"'X'", b"''", b"'furlong'",
    b"'RA---TAN-SIP'", b"'RICE_1'", b"'\xc3\xa9\xff'", b"nan", b"", b"1.5", b"'" + b"a" * 60,
)  # fmt: skip
#: Keywords that a card may come to have.
CARD_KEYS = (
    b"NAXIS", b"NAXIS1", b"NAXIS2", b"NAXIS3", b"BITPIX", b"PCOUNT", b"GCOUNT", b"TFIELDS", b"TFORM1", b"TFORM2",
    b"TDIM1", b"TSCAL1", b"TZERO1", b"TNULL1", b"TTYPE1", b"TUNIT1", b"THEAP", b"XTENSION", b"END", b"CONTINUE",
    b"HIERARCH", b"ZIMAGE", b"ZNAXIS1", b"ZTILE1", b"ZBITPIX", b"BSCALE", b"BZERO", b"BLANK", b"CTYPE1", b"CRPIX1",
    b"CDELT1", b"CD1_1", b"A_ORDER", b"BANDS", b"EXTNAME", b"CUNIT1", b"WCSAXES", b"LONPOLE", b"PV1_1",
)  # fmt: skip

_EXAMPLES = int(os.environ.get("SKYTRACE_FUZZ_EXAMPLES", "0"))
#: Of one reader. The short form, part of every test run, is the same each time; with SKYTRACE_FUZZ_EXAMPLES=5000 it is
#: that many new ones.
FUZZ = settings(
    max_examples=_EXAMPLES or 30, derandomize=not _EXAMPLES, database=None, deadline=20_000,
    suppress_health_check=list(HealthCheck), print_blob=False,
)  # fmt: skip


@st.composite
def broken_bytes(draw: Any, valid: bytes, *, kind: str = "binary") -> bytes:
    """``valid`` after one to three changes. kind: "binary", "text" or "fits", which has changes of its own."""
    content = valid
    own = {"text": (_other_word,), "fits": (_other_card, _other_card, _other_card)}.get(kind, ())
    changes = (_flipped_bits, _truncated, _repeated, _cut_out, _overwritten, _exchanged, *own, *own)
    for change in draw(st.lists(st.sampled_from(changes), min_size=1, max_size=3)):
        content = change(draw, content)
    return content


def _place(draw: Any, content: bytes) -> int:
    return draw(st.integers(0, max(len(content) - 1, 0)))


def _flipped_bits(draw: Any, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if changed:
            changed[_place(draw, content)] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


def _truncated(draw: Any, content: bytes) -> bytes:
    return content[: _place(draw, content)]


def _repeated(draw: Any, content: bytes) -> bytes:
    start, length = _place(draw, content), draw(st.sampled_from([1, 8, 80, 512, 2880]))
    return content[:start] + content[start : start + length] * draw(st.integers(2, 50)) + content[start:]


def _cut_out(draw: Any, content: bytes) -> bytes:
    start = _place(draw, content)
    return content[:start] + content[start + draw(st.sampled_from([1, 2, 8, 80, 2880])) :]


def _overwritten(draw: Any, content: bytes) -> bytes:
    start = _place(draw, content)
    block = draw(st.sampled_from([0x00, 0xFF, 0x20, 0x7F])).to_bytes(1, "big") * draw(
        st.sampled_from([1, 4, 8, 80, 900])
    )
    return content[:start] + block + content[start + len(block) :]


def _exchanged(draw: Any, content: bytes) -> bytes:
    a, b = sorted((_place(draw, content), _place(draw, content)))
    return content[:a] + content[b:] + content[a:b]


def _other_word(draw: Any, content: bytes) -> bytes:
    """One field of one line says something else."""
    lines = content.split(b"\n")
    at = draw(st.integers(0, len(lines) - 1))
    separator = b"," if b"," in lines[at] else b" "
    fields = lines[at].split(separator)
    fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(WORDS))
    lines[at] = separator.join(fields)
    return b"\n".join(lines)


def _other_card(draw: Any, content: bytes) -> bytes:
    """One of the cards of a FITS header, known by ``= `` in bytes 9 and 10, says something else."""
    cards = [at for at in range(0, len(content) - 79, 80) if content[at + 8 : at + 10] == b"= "]
    if not cards:
        return content
    at = draw(st.sampled_from(cards))
    key = content[at : at + 8] if draw(st.integers(0, 3)) else draw(st.sampled_from(CARD_KEYS)).ljust(8)
    card = (key + b"= " + draw(st.sampled_from(CARD_VALUES)).rjust(20)).ljust(80)[:80]
    return content[:at] + card + content[at + 80 :]
