"""What a file says, before any reference is expanded."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import CycleError, LookupFailedError


@dataclass
class Section:
    """A section's own, unexpanded values, in the order of the file."""

    name: str
    parent: str | None = None
    values: dict[str, str] = field(default_factory=dict)


@dataclass
class Document:
    sections: dict[str, Section] = field(default_factory=dict)

    def section(self, name: str) -> Section:
        try:
            return self.sections[name]
        except KeyError:
            raise LookupFailedError(f"no section [{name}]") from None

    def lineage(self, name: str) -> Iterator[Section]:
        """The section, its parent, its parent's parent … Raises CycleError when a section is its own ancestor."""
        seen: list[str] = []
        current: str | None = name
        while current is not None:
            if current in seen:
                raise CycleError("sections inherit in a circle: " + " → ".join([*seen, current]))
            seen.append(current)
            section = self.section(current)
            yield section
            current = section.parent

    def owner(self, name: str, key: str) -> Section:
        """The nearest section of the lineage that has the key itself."""
        for section in self.lineage(name):
            if key in section.values:
                return section
        raise LookupFailedError(f"no key {key!r} in [{name}]")
