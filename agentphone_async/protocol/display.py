"""Text from the network, made harmless for a terminal, a log line and an error message.

Whatever comes in, what goes out is one line of printable characters: no control codes, no escape
sequences, no marks that reorder or hide text, no lone surrogates (so that it can be encoded), and
no more than the length asked for. It is for reading only; it cannot be turned back.
"""

from __future__ import annotations

import codecs

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_HINT_LENGTH = 8

# Unicode calls these printable, yet they are drawn with no width (Default_Ignorable_Code_Point,
# DerivedCoreProperties.txt, without the format characters that `str.isprintable` knows already).
_INVISIBLE = frozenset(
    [
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str, limit: int = 200) -> str:
    r"""`text` as one harmless line of at most `limit` characters.

    Control characters (C0, DEL, C1), ANSI escapes, line and paragraph separators, bidirectional,
    zero-width and other format marks, unassigned code points and lone surrogates appear as visible
    escapes such as ``\x1b`` or ``\u202e``. A text that is too long ends in an ellipsis and its
    real length, which are counted in `limit` (a `limit` too small for them gives just them).
    The cost depends on `limit`, not on the length of `text`. Never raises.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    pieces: list[str] = []
    length = 0
    for char in text[: limit + 1]:
        piece = _visible(char)
        length += len(piece)
        if length > limit:
            return _cut(pieces, f"{ELLIPSIS} ({len(text)} characters)", limit)
        pieces.append(piece)
    return "".join(pieces)


def sample(body: bytes, limit: int = 80) -> str:
    r"""The first `limit` bytes of `body`, quoted for an error message, with its length when cut.

    Bytes that are not UTF-8 appear as ``\xff``. The result is one harmless line.
    """
    if not body:
        return "nothing (0 bytes)"
    cut = len(body) > limit
    # An incremental decoder keeps back a character that the cut has split: it is not a bad one.
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    text = decoder.decode(bytes(body[:limit]), final=not cut)
    shown = printable(text, limit=10 * limit)
    return f"'{shown}{ELLIPSIS}' ({len(body)} bytes)" if cut else f"'{shown}'"


def hint(call_id: str) -> str:
    """The beginning of a call id: enough to tell calls apart in a log, too little to fetch one.

    A call id is a bearer secret, so never more than eight characters and never more than half.
    """
    shown = call_id[: min(_HINT_LENGTH, len(call_id) // 2)]
    return printable(shown) + ELLIPSIS


def _visible(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    code = ord(char)
    if char.isprintable() and code not in _INVISIBLE:
        return char
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cut(pieces: list[str], ending: str, limit: int) -> str:
    room = limit - len(ending)
    kept: list[str] = []
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept) + ending
