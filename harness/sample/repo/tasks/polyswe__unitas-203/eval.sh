#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git checkout HEAD -- tests/test_parse.py tests/test_render.py
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_parse.py b/tests/test_parse.py
index 5ddc92f..4729dad 100644
--- a/tests/test_parse.py
+++ b/tests/test_parse.py
@@ -37,6 +37,29 @@ def test_later_term_with_its_own_sign():
     assert parse("-1h +30m").to("min") == -30
 
 
+def test_leading_sign_covers_the_terms_after_it():
+    assert parse("-1h 30m").to("min") == -90
+    assert parse("-1h30m15s").to("s") == -5415
+    assert parse("- 5 ft 6 in").to("in") == -66
+
+
+def test_sign_in_force_until_the_next():
+    assert parse("1h -30m 10s").to("s") == 1790
+    assert parse("-1h 30m +10s 5s").to("s") == -5385
+    assert parse("-1d +2h 30m").to("min") == -1290
+
+
+def test_zero_can_carry_the_sign():
+    assert parse("-0h 45m").to("min") == -45
+    assert parse("+0h 45m").to("min") == 45
+
+
+def test_negative_mixed_number():
+    assert parse("-2 1/2 ft").to("in") == -30
+    assert parse("-0 1/2 ft").to("in") == -6
+    assert parse("-1 1/2 h 10m").to("min") == -100
+
+
 def test_errors():
     with pytest.raises(ParseError):
         parse("  ")
diff --git a/tests/test_render.py b/tests/test_render.py
index dc462d1..1fc9390 100644
--- a/tests/test_render.py
+++ b/tests/test_render.py
@@ -32,3 +32,32 @@ def test_zero():
 def test_wrong_dimension():
     with pytest.raises(DimensionError):
         render(parse("1 h"), ["ft"])
+
+
+def test_negative_compound():
+    assert render(parse("-5400 s"), ["h", "min"]) == "-1 h 30 min"
+    assert render(parse("-5400 s"), ["min", "s"]) == "-90 min"
+
+
+def test_negative_smaller_than_the_largest_unit():
+    assert render(parse("-1800 s"), ["h", "min"]) == "-30 min"
+    assert render(parse("10 min") - parse("1 h"), ["d", "h", "min"]) == "-50 min"
+
+
+def test_negative_fraction_in_last_term():
+    assert render(Quantity.of(Fraction(-5, 2), "cup"), ["cup"]) == "-2 1/2 cup"
+    assert render(Quantity.of(Fraction(-1, 2), "cup"), ["cup"]) == "-1/2 cup"
+
+
+def test_negative_with_places():
+    assert render(parse("-90.25 s"), ["min", "s"], places=1) == "-1 min 30.2 s"
+    assert render(parse("-3599.96 s"), ["h", "min", "s"], places=1) == "-1 h"
+
+
+def test_round_trip_of_both_signs():
+    for seconds in (0, 1, 59, 60, 61, 1800, 3599, 3600, 5400, 86399, 90061):
+        for third in range(3):
+            for sign in (1, -1):
+                quantity = Quantity.of(sign * (seconds + Fraction(third, 3)), "s")
+                assert parse(render(quantity, ["d", "h", "min", "s"])) == quantity
+                assert parse(render(quantity, ["h", "min"])) == quantity
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_parse.py tests/test_render.py
: '>>>>> End Test Output'
git checkout HEAD -- tests/test_parse.py tests/test_render.py
