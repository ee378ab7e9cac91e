"""Text → Document."""

import re

from .document import Document, Section
from .errors import ParseError
from .lexer import logical_lines

_HEADER = re.compile(r"\[\s*(?P<name>[\w.-]+)\s*(?::\s*(?P<parent>[\w.-]+)\s*)?\]")
_PAIR = re.compile(r"(?P<key>[\w.-]+)\s*=\s*(?P<value>.*)")


def parse(text: str) -> Document:
    """Raises ParseError for lines that are neither header nor pair, for repeated sections and repeated keys."""
    document = Document()
    section: Section | None = None
    for line in logical_lines(text):
        if header := _HEADER.fullmatch(line.text):
            section = Section(header["name"], header["parent"])
            if section.name in document.sections:
                raise ParseError(line.number, f"section [{section.name}] is declared twice")
            document.sections[section.name] = section
        elif pair := _PAIR.fullmatch(line.text):
            if section is None:
                raise ParseError(line.number, "a value outside of any section")
            if pair["key"] in section.values:
                raise ParseError(line.number, f"key {pair['key']!r} is set twice in [{section.name}]")
            section.values[pair["key"]] = pair["value"]
        else:
            raise ParseError(line.number, f"cannot make sense of {line.text!r}")
    return document


def unparse(document: Document) -> str:
    """Text that parses to an equal document."""
    blocks = []
    for section in document.sections.values():
        head = f"[{section.name} : {section.parent}]" if section.parent else f"[{section.name}]"
        blocks.append("\n".join([head, *(f"{key} = {value}" for key, value in section.values.items())]))
    return "\n\n".join(blocks) + "\n" if blocks else ""
