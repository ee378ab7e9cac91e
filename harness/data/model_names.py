"""Finding the model somebody means from a part of its name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from harness.errors import InputError

SHOWN = 8
"""At most this many candidates are listed in an error."""


def match_names(wanted: Sequence[str], available: Sequence[str], *, globs: bool = False) -> list[str]:
    """The one name in `available` that each of `wanted` stands for, in the order of `wanted`.

    Upper and lower case are the same throughout. The whole name wins; otherwise the query has to be a unique part:
    first as it stands ("4.5 sonnet" in "Claude 4.5 Sonnet (20250929)"), then with its words anywhere in the name
    ("opus medium" in "Claude 4.5 Opus medium (20251101)"). With `globs`, as the commands' `--model` has it, a query
    with `*` that is no whole name stands for every name of that form.

    Raises:
        InputError: a query stands for no name, for several without a `*`, or two queries stand for the same one.
    """
    query_for: dict[str, str] = {}
    for query in wanted:
        for name in _of_form(query, available) if globs and "*" in query else [_match(query, available)]:
            if name in query_for:
                raise InputError(f"'{query_for[name]}' and '{query}' both stand for '{name}': name each model once")
            query_for[name] = query
    return list(query_for)


def _of_form(pattern: str, available: Sequence[str]) -> list[str]:
    if pattern in available:
        return [pattern]
    found = [name for name in available if fnmatchcase(name.casefold(), pattern.strip().casefold())]
    return found or [_match(pattern, available)]


def _match(query: str, available: Sequence[str]) -> str:
    words = query.casefold().split()
    if not words:
        raise InputError(f"an empty model name stands for nothing: choose from {_listed(available)}")
    folded = {name: " ".join(name.casefold().split()) for name in available}
    phrase = " ".join(words)
    tiers = (
        [name for name, text in folded.items() if text == phrase],
        [name for name, text in folded.items() if phrase in text],
        [name for name, text in folded.items() if all(word in text for word in words)],
    )
    candidates: list[str] = next((tier for tier in tiers if tier), [])
    if len(candidates) == 1:
        return candidates[0]
    if query in candidates:  # names that differ in case only
        return query
    if candidates:
        raise InputError(f"'{query}' stands for {len(candidates)} models: {_listed(candidates)}; say more of the name")
    raise InputError(f"no model is called '{query}': {_listed(_nearest(phrase, folded))}")


def _nearest(phrase: str, folded: dict[str, str]) -> list[str]:
    """All names, the likeliest first: by words in common, then by difflib's ratio."""

    def likeness(name: str) -> tuple[int, float]:
        shared = sum(word in folded[name] for word in phrase.split())
        return shared, difflib.SequenceMatcher(None, phrase, folded[name]).ratio()

    return sorted(folded, key=likeness, reverse=True)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:SHOWN])
    more = len(names) - SHOWN
    return (f"{shown} and {more} more" if more > 0 else shown) or "(there are none)"
