"""Making a cell fit into its column."""

ELLIPSIS = "…"


def wrap_cell(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns. Line breaks of the text are kept, words too long for a line are split."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += [paragraph] if len(paragraph) <= width else _fill(paragraph.split(), width)
    return lines


def _fill(words: list[str], width: int) -> list[str]:
    lines: list[str] = []
    current = ""
    for word in words:
        candidate = f"{current} {word}" if current else word
        if len(candidate) <= width:
            current = candidate
            continue
        if current:
            lines.append(current)
        while len(word) > width:
            lines.append(word[:width])
            word = word[width:]
        current = word
    lines.append(current)
    return lines


def cut_cell(text: str, width: int) -> list[str]:
    """A single line of at most `width` columns, ending in an ellipsis when something is missing."""
    first, newline, _ = text.partition("\n")
    if len(first) > width or newline:
        first = first[: width - 1].rstrip() + ELLIPSIS
    return [first]
