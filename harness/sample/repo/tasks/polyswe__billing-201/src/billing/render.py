"""A statement as plain text."""

from billing.money import Money
from billing.statement import Statement
from billing.tax import rate_of


def _number(amount: Money) -> str:
    return str(amount).rsplit(" ", 1)[0]


def render(statement: Statement) -> str:
    """One row for each line, the tax groups, and the totals; amounts in the currency named in the title."""
    rows: list[tuple[str, ...]] = [("", "discount", "net", "tax", "total")]
    for item in statement.lines:
        amounts = (item.discount, item.net, item.tax, item.total)
        rows.append((item.line.description, *map(_number, amounts)))
    for group in statement.groups:
        rows.append((f"{group.code} {rate_of(group.code):.0%}", "", _number(group.net), _number(group.tax), ""))
    rows.append(("total", "", _number(statement.net), _number(statement.tax), _number(statement.total)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [f"Invoice {statement.number} ({statement.total.currency})"]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
