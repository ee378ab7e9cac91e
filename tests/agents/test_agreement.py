"""How far patches agree, apart from what is no code."""

from __future__ import annotations

import gzip
import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from agents.agreement import agreement, same_change, similarity

CODE = """\
diff --git a/src/shop/cart.py b/src/shop/cart.py
--- a/src/shop/cart.py
+++ b/src/shop/cart.py
@@ -1,2 +1,3 @@
 def total(items):
-    return sum(items)
+    prices = [item.price for item in items]
+    return sum(prices, start="a # b")
"""


def new_file(path: str, text: str) -> str:
    lines = text.splitlines()
    body = "".join(f"+{line}\n" for line in lines)
    head = f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n"
    return f"{head}@@ -0,0 +1,{len(lines)} @@\n{body}"


SAME = {
    "moved": CODE.replace("@@ -1,2 +1,3 @@", "@@ -41,2 +41,3 @@"),
    "white space": CODE.replace("sum(prices,", "sum( prices ,"),
    "comments": CODE.replace("in items]\n", "in items]  # one each\n+\n+    # their sum\n"),
    "docstring": CODE.replace("+    prices", '+    """The sum.\n+\n+    Of "prices".\n+    """\n+    prices'),
    "tests": CODE + new_file("tests/test_cart.py", "def test(): pass"),
    "documentation": CODE + new_file("docs/cart.rst", "x") + new_file("CHANGES.md", "y"),
    "scratch": CODE + new_file("reproduce.py", "x") + new_file("src/shop/debug_cart.py", "y"),
}
OTHER = {
    "a name": CODE.replace("item.price for item", "item.cost for item"),
    "what is removed": CODE.replace("return sum(items)\n", "return max(items)\n", 1),
    "a text": CODE.replace("a # b", "a # c"),
    "another file": CODE.replace("cart", "bill"),
    "a new module": CODE + new_file("src/shop/price.py", "price = 1"),
}


@pytest.mark.parametrize("name", SAME)
def test_what_is_no_code_makes_no_difference(name: str) -> None:
    assert same_change(CODE, SAME[name])
    assert similarity(CODE, SAME[name]) == 1


@pytest.mark.parametrize("name", OTHER)
def test_every_change_of_code_makes_a_difference(name: str) -> None:
    assert not same_change(CODE, OTHER[name])
    assert similarity(CODE, OTHER[name]) > 0.5


def test_a_patch_without_code_agrees_with_none() -> None:
    for patch in ("", new_file("tests/test_cart.py", "x = 1")):
        assert not same_change(patch, patch)
        assert math.isnan(similarity(patch, CODE))


def test_agreement_with_the_others() -> None:
    found = agreement([CODE, SAME["comments"], OTHER["a name"]])
    assert [round(signals["patch_agrees"], 2) for signals in found] == [0.5, 0.5, 0.0]
    assert found[0]["patch_similarity"] == (1 + similarity(CODE, OTHER["a name"])) / 2
    assert all(math.isnan(value) for value in agreement([CODE])[0].values())


def test_recorded_patches_agree_as_the_study_found(shared_data: Path) -> None:
    """The study's own figures for pairs of real patches, computed from the same description."""
    folder = shared_data / "finished"
    recorded = np.load(folder / "sbv_pairs.npz")
    models, names = list(recorded["models"]), list(recorded["features"])
    instances = {name: i for i, name in enumerate(recorded["instances"])}
    patches: dict[str, dict[str, str]] = {}
    with gzip.open(folder / "sbv_patches.jsonl.gz", "rt") as lines:
        for row in map(json.loads, lines):
            if row["patch"] and not row.get("truncated"):
                patches.setdefault(row["instance_id"], {})[row["model"]] = row["patch"]
    ours, theirs = [], []
    for instance in sorted(patches)[::5]:
        for a, b in pairwise(models):
            if {a, b} <= patches[instance].keys():
                pair = (patches[instance][a], patches[instance][b])
                ours.append((similarity(*pair), float(same_change(*pair))))
                found = recorded["sim"][instances[instance], models.index(a), models.index(b)]
                theirs.append((found[names.index("seq")], found[names.index("eq")]))
    mine, their = np.array(ours, dtype=float), np.array(theirs, dtype=float)
    known = ~np.isnan(mine[:, 0]) & ~np.isnan(their[:, 0])
    assert known.sum() > 1000
    assert np.corrcoef(mine[known, 0], their[known, 0])[0, 1] > 0.99
    assert (mine[:, 1] == their[:, 1]).mean() > 0.99
