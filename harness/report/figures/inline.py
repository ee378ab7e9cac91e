"""A figure's SVG as a part of the page: no ids that clash, no inline styles, colours that follow the page's theme."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, fromstring, tostring

from markupsafe import Markup

from harness.report.figures.drawing import COLOURS, Drawing

VARIABLES = {value: f"var(--{name})" for name, value in COLOURS.items()}
LEFT_OUT = frozenset({"metadata", "style"})
"""Elements. matplotlib's style element would be refused by the page's policy; `DEFAULTS` stand for it."""
DEFAULTS = {"stroke-linejoin": "round", "stroke-linecap": "butt"}
INHERITED = frozenset({"font-family", "stroke-linejoin"})
"""Properties that the page or the whole drawing sets."""
GEOMETRY = frozenset({"d", "x", "y", "width", "height", "transform"})
TIP = "tip"
"""Class of a group with a tooltip."""

_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_DIGITS = re.compile(r"(\.\d\d)\d+")


def inline(drawing: Drawing) -> Markup:
    """The drawing as an `<svg>` element of an HTML page.

    matplotlib escaped the names in it, and they are escaped again as the parsed tree is written. Ids that something
    refers to get a prefix of the drawing's name; matplotlib's others go.
    """
    root = fromstring(drawing.svg())
    referred = {target for element in root.iter() for value in element.attrib.values() for target in _targets(value)}
    _translate(root, drawing, referred)
    _prune(root)
    box = root.get("viewBox", "")
    root.attrib = {"viewBox": box, "role": "img", "aria-label": drawing.label} | DEFAULTS
    root.set("class", f"drawing {drawing.name}")
    return Markup(tostring(root, encoding="unicode"))


def _translate(element: Element, drawing: Drawing, referred: set[str]) -> None:
    """Rewrite the attributes of an element and of all within it, without namespaces, and add the tooltips."""
    tip = drawing.tips.get(element.get("id", ""))
    attributes: dict[str, str] = {} if tip is None else {"class": TIP}
    for key, value in element.attrib.items():
        name = _local(key)
        if name == "style":
            attributes |= _declarations(value, drawing.name)
        elif name == "id" and value in referred:
            attributes["id"] = f"{drawing.name}-{value}"
        elif name == "href":
            attributes["href"] = f"#{drawing.name}-{value.removeprefix('#')}"
        elif name != "id" and not value.startswith("rotate(-0 "):
            short = _DIGITS.sub(r"\1", " ".join(value.split())) if name in GEOMETRY else value
            attributes[name] = _prefixed(short, drawing.name)
    element.tag, element.tail, element.attrib = _local(element.tag), None, attributes
    if element.tag != "text":
        element.text = None
    for child in element:
        _translate(child, drawing, referred)
    if tip is not None:
        title = Element("title")
        title.text = tip
        element.insert(0, title)


def _declarations(style: str, prefix: str) -> dict[str, str]:
    """A style as attributes, because the page's policy allows no inline style."""
    pairs = (part.split(":", 1) for part in style.split(";") if ":" in part)
    declared = {key.strip(): value.strip() for key, value in pairs}
    return {
        key: _prefixed(VARIABLES.get(value, value), prefix) for key, value in declared.items() if key not in INHERITED
    }


def _prune(element: Element) -> None:
    """Remove what is not visible: groups without attributes of their own, and empty ones."""
    kept: list[Element] = []
    for child in element:
        _prune(child)
        if child.tag in LEFT_OUT or (child.tag in ("g", "defs") and len(child) == 0):
            continue
        if child.tag == "g" and not child.attrib:
            kept.extend(child)
        elif child.get("fill") != "none" or "stroke" in child.attrib:
            kept.append(child)
    element[:] = kept


def _prefixed(value: str, prefix: str) -> str:
    return _REFERENCE.sub(rf"url(#{prefix}-\1)", value)


def _targets(value: str) -> list[str]:
    return [value[1:]] if value.startswith("#") else _REFERENCE.findall(value)


def _local(name: str) -> str:
    return name.rpartition("}")[2]
