"""One-way directory mirroring."""

from mirrorfs.apply import apply
from mirrorfs.ignore import IgnoreRules
from mirrorfs.plan import Action, Kind, MirrorError, plan

__all__ = ["Action", "IgnoreRules", "Kind", "MirrorError", "apply", "plan"]
