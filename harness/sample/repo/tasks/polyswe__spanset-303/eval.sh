#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_boundaries.py b/tests/test_boundaries.py
new file mode 100644
index 0000000..24a7aa9
--- /dev/null
+++ b/tests/test_boundaries.py
@@ -0,0 +1,94 @@
+"""What happens where boundaries coincide."""
+
+import itertools
+import operator
+
+from spanset import EMPTY, REALS, Span, SpanSet, parse
+
+
+def test_point_out_of_a_span():
+    domain = parse("[0,10]") - parse("{3}")
+    assert str(domain) == "[0,3) | (3,10]"
+    assert 3 not in domain
+
+
+def test_two_open_ends_do_not_touch():
+    assert str(parse("[1,3) | (3,5]")) == "[1,3) | (3,5]"
+    assert parse("[1,3) | (3,5]") != parse("[1,5]")
+
+
+def test_point_fills_the_hole():
+    assert str(parse("[1,3) | (3,5] | {3}")) == "[1,5]"
+
+
+def test_one_closed_end_is_enough_to_touch():
+    assert str(parse("[1,3] | (3,5]")) == "[1,5]"
+    assert str(parse("(3,5] | [1,3]")) == "[1,5]"
+
+
+def test_union_keeps_an_included_start():
+    assert str(parse("(1,5] | [1,2]")) == "[1,5]"
+    assert str(parse("(1,5) | {1}")) == "[1,5)"
+
+
+def test_union_keeps_an_included_end():
+    assert str(parse("[1,5) | [2,5]")) == "[1,5]"
+    assert str(parse("[1,5) | {5}")) == "[1,5]"
+
+
+def test_intersection_takes_the_stricter_end():
+    assert str(parse("[1,5]") & parse("(1,5)")) == "(1,5)"
+    assert str(parse("(1,5)") & parse("[1,5]")) == "(1,5)"
+    assert str(parse("[1,5)") & parse("(1,5]")) == "(1,5)"
+
+
+def test_intersection_in_a_point():
+    assert str(parse("[1,3]") & parse("[3,5]")) == "{3}"
+    assert parse("[1,3)") & parse("[3,5]") == EMPTY
+
+
+def test_complement_of_points():
+    assert str(~parse("{1,2}")) == "(-inf,1) | (1,2) | (2,inf)"
+    assert ~~parse("{1,2}") == parse("{1,2}")
+
+
+def test_difference_of_a_set_and_its_interior():
+    assert str(parse("[1,5]") - parse("(1,5)")) == "{1} | {5}"
+    assert str(parse("[0,5]") ^ parse("(0,5)")) == "{0} | {5}"
+
+
+def test_subset_at_the_ends():
+    assert not parse("[1,5]") <= parse("(1,5)")
+    assert not parse("[1,5]") <= parse("[1,5)")
+    assert parse("(1,5)") <= parse("[1,5]")
+
+
+GRID = [half / 2 for half in range(-1, 8)]
+SPANS = [
+    Span(lo, hi, lo_in, hi_in)
+    for lo, hi in itertools.combinations_with_replacement((0, 1, 2), 2)
+    for lo_in in (True, False)
+    for hi_in in (True, False)
+]
+
+
+def members(spans):
+    return frozenset(x for x in GRID if x in spans)
+
+
+def test_algebra_agrees_with_plain_sets_of_numbers():
+    for first, second in itertools.product(SPANS, repeat=2):
+        one, two = SpanSet([first]), SpanSet([second])
+        for combine in (operator.or_, operator.and_, operator.sub, operator.xor):
+            assert members(combine(one, two)) == combine(members(one), members(two)), (combine, one, two)
+        assert (one <= two) == (members(one) <= members(two))
+
+
+def test_normal_form_is_unique():
+    printed = {}
+    for triple in itertools.combinations(SPANS, 3):
+        union = SpanSet(triple)
+        assert printed.setdefault(members(union), str(union)) == str(union)
+        assert union == SpanSet(reversed(triple))
+        assert ~~union == union
+        assert union | ~union == REALS
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_algebra.py tests/test_boundaries.py tests/test_text.py
: '>>>>> End Test Output'
rm -f tests/test_boundaries.py
