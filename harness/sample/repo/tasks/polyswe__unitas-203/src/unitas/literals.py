"""Number literals: integers, decimals, exponents, fractions and mixed numbers, all exact."""

import re
from fractions import Fraction

NUMBER = re.compile(
    r"""
    (?P<sign>[+-]?)\s*
    (?:
        (?:(?P<whole>\d+)\s+)?(?P<num>\d+)\s*/\s*(?P<den>\d+)     # 3/4 or 1 1/2
      | (?P<decimal>\d+(?:\.\d*)?(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)


def value_of(match: re.Match[str]) -> Fraction:
    """The exact value of a match of ``NUMBER``. Raises ZeroDivisionError for ``1/0``."""
    sign = match["sign"]
    if match["decimal"] is not None:
        return Fraction(sign + match["decimal"])
    part = Fraction(int(match["num"]), int(match["den"]))
    if match["whole"] is None:
        return -part if sign == "-" else part
    return int(sign + match["whole"]) + part
