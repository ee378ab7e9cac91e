"""What a leaderboard wants to know of a system and no run can tell: the checklist's fields, from a YAML file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.config import explain
from harness.errors import InputError
from harness.files import parse_yaml, why_unread

TODO = "TODO"
"""Stands in every field that nobody has filled in; `check` names each."""


class About(BaseModel):
    """The checklist's fields. Everything left out becomes a named gap of the package."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str = f"{TODO}: address of a page on the system"
    """A page that describes the system."""
    report: str = f"{TODO}: arXiv preprint or technical report"
    """The technical report; SWE-bench/experiments accepts no entry without one."""
    authors: str = f"{TODO}: names, and the first author's page"
    """Who made the submission."""
    org: str = f"{TODO}: organisation"
    """Who publishes the system."""
    logo: str = ""
    """Address of a logo; may stay empty."""
    os_model: bool = False
    """Whether the weights of every model are open."""
    os_system: bool = False
    """Whether the system's code is open."""
    description: str = ""
    """A paragraph on the system, put in front of what polyswe says of the run."""
    no_web: bool | None = None
    """Whether the agent could not look solutions up on the web. None takes it from the run: yes without a network."""


def read_about(path: Path | None) -> About:
    """The fields of a YAML file, or all gaps when there is none.

    Raises:
        InputError: It is missing, unreadable, or has unknown keys.
    """
    if path is None:
        return About()
    if not path.exists():
        raise InputError(f"{path}: no such file; it is a YAML file with {', '.join(About.model_fields)}")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError) as error:  # text that is no UTF-8 is a ValueError
        raise InputError(f"{path}: cannot be read as YAML ({why_unread(error)})") from error
    try:
        return About.model_validate(content)
    except ValidationError as error:
        known = ", ".join(About.model_fields)
        raise InputError(f"{path}: {explain(error)}; the fields are {known}") from error
