"""References → text."""

import re

from .document import Document
from .errors import ConfigError, CycleError, LookupFailedError

_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?:(?P<section>[\w.-]+):)?(?P<key>[\w.-]+)\})?")

Slot = tuple[str, str]


class Expander:
    """Reads values of a document with their references expanded, each value once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._known: dict[Slot, str] = {}

    def forget(self) -> None:
        """To be called whenever the document changes."""
        self._known.clear()

    def value(self, section: str, key: str, trail: tuple[Slot, ...] = ()) -> str:
        """Raises LookupFailedError, CycleError, or ConfigError for a `$` that starts no reference."""
        owner = self._document.owner(section, key)
        slot = (owner.name, key)
        if slot in trail:
            raise CycleError("references run in a circle: " + " → ".join(f"{s}:{k}" for s, k in [*trail, slot]))
        if slot not in self._known:
            self._known[slot] = self._expand(owner.values[key], owner.name, (*trail, slot))
        return self._known[slot]

    def _expand(self, raw: str, section: str, trail: tuple[Slot, ...]) -> str:
        def replace(match: re.Match[str]) -> str:
            if match["dollar"]:
                return "$"
            if not match["key"]:
                raise ConfigError(f"stray $ in [{section}] {trail[-1][1]}, write $$ for a dollar sign")
            try:
                return self.value(match["section"] or section, match["key"], trail)
            except LookupFailedError as error:
                raise LookupFailedError(f"{error}, needed by [{section}] {trail[-1][1]}") from None

        return _REFERENCE.sub(replace, raw)
