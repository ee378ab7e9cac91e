"""Ignore patterns, a subset of what git understands."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    regex: re.Pattern[str]
    negated: bool
    dirs_only: bool
    anchored: bool

    @classmethod
    def of(cls, pattern: str) -> Rule:
        negated = pattern.startswith("!")
        body = pattern[1:] if negated else pattern
        dirs_only = body.endswith("/")
        body = body.rstrip("/")
        anchored = "/" in body
        return cls(re.compile(_translate(body.lstrip("/")) + r"\Z"), negated, dirs_only, anchored)

    def matches(self, path: str, is_dir: bool) -> bool:
        if self.dirs_only and not is_dir:
            return False
        return self.regex.match(path if self.anchored else path.rsplit("/", 1)[-1]) is not None


class IgnoreRules:
    """An ordered list of patterns; the last one that matches decides."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        lines = (line.split("#", 1)[0].strip() for line in patterns)
        self._rules = [Rule.of(line) for line in lines if line]

    def ignores(self, path: str, is_dir: bool) -> bool:
        """Whether this very path is ignored. Callers do not descend into ignored directories."""
        verdict = False
        for rule in self._rules:
            if rule.matches(path, is_dir):
                verdict = not rule.negated
        return verdict


def _translate(pattern: str) -> str:
    """A glob as a regular expression; `*` and `?` stop at slashes, `**` does not."""
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    wild = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(wild.get(part, re.escape(part)) for part in parts)
