"""What programs use."""

from .document import Document
from .errors import ConfigError, LookupFailedError
from .expand import Expander
from .parser import parse, unparse

_BOOLEANS = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}


class Config:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._expander = Expander(document)

    @classmethod
    def from_text(cls, text: str) -> "Config":
        return cls(parse(text))

    def to_text(self) -> str:
        """The configuration with overrides, references unexpanded; comments are lost."""
        return unparse(self._document)

    def sections(self) -> list[str]:
        return list(self._document.sections)

    def own_keys(self, section: str) -> list[str]:
        return list(self._document.section(section).values)

    def keys(self, section: str) -> list[str]:
        """Keys of the section and its ancestors, the most distant ancestor's first."""
        names: dict[str, None] = {}
        for ancestor in reversed(list(self._document.lineage(section))):
            names |= dict.fromkeys(ancestor.values)
        return list(names)

    def get(self, section: str, key: str, default: str | None = None) -> str:
        """The expanded value. Without a default, a missing section or key raises LookupFailedError."""
        if default is not None:
            try:
                self._document.owner(section, key)
            except LookupFailedError:
                return default
        return self._expander.value(section, key)

    def get_int(self, section: str, key: str) -> int:
        text = self.get(section, key)
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"[{section}] {key} is no integer: {text!r}") from None

    def get_bool(self, section: str, key: str) -> bool:
        text = self.get(section, key)
        try:
            return _BOOLEANS[text.lower()]
        except KeyError:
            raise ConfigError(f"[{section}] {key} is neither yes nor no: {text!r}") from None

    def get_list(self, section: str, key: str) -> list[str]:
        """Items between commas, stripped, without empty ones."""
        return [item for part in self.get(section, key).split(",") if (item := part.strip())]

    def override(self, section: str, key: str, value: str) -> None:
        """Set a value, which may contain references, in an existing section."""
        self._document.section(section).values[key] = value
        self._expander.forget()
