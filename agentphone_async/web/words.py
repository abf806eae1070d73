"""Words that are searched for: taken apart, put into SQLite's terms, and found in what was said."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

MARKS = ("\x02", "\x03")
"""Around a word that was found, in a snippet."""
_BEFORE, _AROUND = 40, 150


def is_number(text: str | None) -> bool:
    """Whether somebody looks for a telephone number."""
    return text is not None and re.fullmatch(r"[\s+()./\d-]*\d{3}[\s+()./\d-]*", text) is not None


def words_of(text: str | None) -> list[str]:
    """Words and, in quotation marks, phrases."""
    if text is None or is_number(text):
        return []
    found = re.findall(r'"([^"]*)"|(\S+)', text.replace("\0", " ")[:300])
    words = [(phrase or word).strip('" ') for phrase, word in found]
    return [word for word in words if any(char.isalnum() for char in word)][:12]


def match_of(words: Sequence[str]) -> str:
    """All of them, each as the beginning of a word or phrase (SQLite's FTS5 query syntax).

    One letter is a word: nearly every call has one that begins so.
    """
    quoted = ('"' + word.replace('"', '""') + '"' + "*" * (len(word) > 1) for word in words)
    return " AND ".join(quoted)


def escaped(word: str) -> str:
    """For LIKE with a backslash as its escape."""
    return re.sub(r"([\\%_])", r"\\\1", word)


def pattern_of(words: Sequence[str]) -> re.Pattern[str]:
    """Any of the words, where it begins."""
    forms = (
        r"[\W_]+".join(re.escape(part) for part in folded_text(word).split()) for word in words
    )
    return re.compile(rf"(?<!\w)({'|'.join(forms)})\w*")


def snippet(said: str, pattern: re.Pattern[str]) -> str:
    """The words around what was found, which is between `MARKS`."""
    folded = folded_text(said)
    first = pattern.search(folded)
    start = 0 if first is None else max(0, first.start() - _BEFORE)
    if start:
        start = folded.find(" ", start) + 1 or start
    end = start + _AROUND
    pieces = ["\N{HORIZONTAL ELLIPSIS}" if start else ""]
    for found in pattern.finditer(folded, start, end):
        pieces += [
            said[start : found.start()],
            MARKS[0],
            said[found.start() : found.end()],
            MARKS[1],
        ]
        start = found.end()
    pieces += [said[start:end], "\N{HORIZONTAL ELLIPSIS}" if len(said) > end else ""]
    return "".join(pieces).replace("\n", " ")


def folded_text(text: str) -> str:
    """Without capitals and accents, each character in its place."""
    if text.isascii():
        return text.lower()
    plain = "".join(unicodedata.normalize("NFD", char)[0] for char in text)
    return "".join(char.lower() if len(char.lower()) == 1 else char for char in plain)
