"""How many terminal columns a piece of text takes."""

import unicodedata

_ZERO_WIDTH = frozenset({"Mn", "Me", "Cf"})


def char_width(char: str) -> int:
    """Columns of a single character: 0 for combining marks and format characters, 2 for East Asian wide ones."""
    if unicodedata.category(char) in _ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def display_width(text: str) -> int:
    """Columns of a text without line breaks."""
    return sum(char_width(char) for char in text)


def pad(text: str, width: int, align: str) -> str:
    """Fill `text` with spaces up to `width` columns; `align` is one of "l", "r", "c"."""
    gap = max(0, width - display_width(text))
    if align == "r":
        return " " * gap + text
    if align == "c":
        return " " * (gap // 2) + text + " " * (gap - gap // 2)
    return text + " " * gap
