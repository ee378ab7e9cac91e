"""Topics are words joined by dots; patterns may hold wildcards."""

from __future__ import annotations

ANY = "*"
REST = "**"


def check_topic(topic: str) -> None:
    """Raises ValueError for a topic that cannot be published to."""
    segments = topic.split(".")
    if not all(segments) or ANY in segments or REST in segments:
        raise ValueError(f"not a topic: {topic!r}")


def check_pattern(pattern: str) -> None:
    """Raises ValueError for a pattern that could never match."""
    segments = pattern.split(".")
    if not all(segments):
        raise ValueError(f"empty segment in pattern {pattern!r}")
    if REST in segments[:-1]:
        raise ValueError(f"{REST} must be the last segment of pattern {pattern!r}")


def matches(pattern: str, topic: str) -> bool:
    """Whether events on `topic` go to subscriptions on `pattern`."""
    wanted, given = pattern.split("."), topic.split(".")
    if wanted[-1] == REST:
        wanted.pop()
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(w in (ANY, g) for w, g in zip(wanted, given, strict=True))
