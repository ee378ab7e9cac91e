"""Text from outside (models, files, servers) made harmless to look at in a terminal."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_REORDERING = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that show text in another order than it is written (CVE-2021-42574)."""
_NO_CHARACTER = re.compile(r"[\ud800-\udfff\ufffe\uffff]")
"""Characters that XML does not allow."""


def plain(text: str) -> str:
    """Text without terminal codes, with control and reordering characters spelled out.

    Escaping for HTML is the template's part.
    """
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROL.sub(lambda match: f"␀{ord(match.group()):02x}", text)
    text = _REORDERING.sub(lambda match: f"⟦U+{ord(match.group()):04X}⟧", text)
    return _NO_CHARACTER.sub("�", text)


def one_line(text: str, length: int = 200) -> str:
    """A name or a message as it may be shown inside a line: `plain`, without line ends, and cut to `length`."""
    shown = " ".join(plain(text[: 4 * length]).split())
    return shown if len(shown) <= length else shown[: length - 1] + "…"
