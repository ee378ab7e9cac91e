"""Which recorded runs could not have been known beforehand: of the same model, or made later."""

from __future__ import annotations

import re
from collections import Counter

from harness.importers.recorded import RecordedRun

_DETAIL = re.compile(r"\s*(\([^()]*\)|\[[^\[\]]*\])\s*$")
_WORD = re.compile(r"[a-z]+|\d+")
_HOW_HARD = frozenset({"minimal", "low", "medium", "high", "max", "reasoning", "reasoner", "preview"})
"""words that say how a model was run, not which one it is"""


def model_words(name: str) -> Counter[str]:
    """What names of one model share, however they are spelled: "GPT-5-2 (high reasoning)" and "gpt-5.2" are equal.

    Details in brackets, an agent in front of a " + " and words for the effort of reasoning do not count.
    """
    while _DETAIL.search(name):
        name = _DETAIL.sub("", name)
    words = _WORD.findall(name.rpartition(" + ")[2].casefold())
    return Counter(word for word in words if word not in _HOW_HARD)


def may_be_of(model: str, run: str) -> bool:
    """Whether the name `run` has every word of `model`'s in it.

    Meant to err on the side of yes: "openhands_claude-opus-4-5" may be of "Claude 4.5 Opus", as may a sibling whose
    name is longer.
    """
    words = model_words(model)
    return bool(words) and words <= model_words(run)


def run_date(run: RecordedRun) -> str | None:
    """Its day as YYYYMMDD: the record's, else the one its folder begins with; None where neither says."""
    for text in (run.date, run.folder):
        digits = re.match(r"(\d{4})-?(\d{2})-?(\d{2})(?!\d)", text or "")
        if digits:
            return "".join(digits.groups())
    return None
