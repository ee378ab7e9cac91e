#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git checkout HEAD -- tests/test_overflow.py
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_overflow.py b/tests/test_overflow.py
index 2736659..ed94e1f 100644
--- a/tests/test_overflow.py
+++ b/tests/test_overflow.py
@@ -1,4 +1,4 @@
-from tabula import render
+from tabula import display_width, render
 from tabula.columns import Column, fit
 from tabula.wrap import cut_cell, wrap_cell
 
@@ -27,3 +27,52 @@ def test_ellipsis():
 def test_max_width_is_kept():
     text = render([["a long description of something", 12]], headers=["description", "n"], max_width=24)
     assert {len(line) for line in text.splitlines()} == {24}
+
+
+def widths_of(text):
+    return {display_width(line) for line in text.splitlines()}
+
+
+def test_wrapped_wide_words_keep_the_frame():
+    text = render([["東京 タワー 展望台 入場券", 1200]], headers=["item", "yen"], max_width=22)
+    assert widths_of(text) == {22}
+
+
+def test_wide_words_are_filled_by_columns():
+    assert wrap_cell("東京 タワー 展望台", 11) == ["東京 タワー", "展望台"]
+
+
+def test_wide_text_without_spaces_is_split_by_columns():
+    assert wrap_cell("東京都千代田区", 6) == ["東京都", "千代田", "区"]
+
+
+def test_half_a_wide_character_is_not_squeezed_in():
+    assert wrap_cell("東京都千代田区", 5) == ["東京", "都千", "代田", "区"]
+    assert wrap_cell("ab東京都", 5) == ["ab東", "京都"]
+
+
+def test_short_wide_text_that_fits_stays_on_one_line():
+    assert wrap_cell("東京", 4) == ["東京"]
+
+
+def test_combining_marks_take_no_room_and_stay_with_their_letter():
+    word = "e\u0301" * 6
+    assert wrap_cell(word, 6) == [word]
+    assert wrap_cell(word, 4) == ["e\u0301" * 4, "e\u0301" * 2]
+
+
+def test_ellipsis_counts_columns():
+    assert cut_cell("東京都千代田区", 14) == ["東京都千代田区"]
+    assert cut_cell("東京都千代田区", 7) == ["東京都…"]
+    assert cut_cell("東京都千代田区", 8) == ["東京都…"]
+
+
+def test_frame_holds_for_both_kinds_of_overflow():
+    rows = [["渋谷区神宮前一丁目", "naïve"], ["plain ascii that is long", "ok"]]
+    for overflow in ("wrap", "ellipsis"):
+        for max_width in range(15, 30):
+            assert widths_of(render(rows, max_width=max_width, overflow=overflow)) == {max_width}
+
+
+def test_ascii_ellipsis_of_a_second_line():
+    assert cut_cell("one\ntwo", 9) == ["one…"]
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_overflow.py tests/test_render.py
: '>>>>> End Test Output'
git checkout HEAD -- tests/test_overflow.py
