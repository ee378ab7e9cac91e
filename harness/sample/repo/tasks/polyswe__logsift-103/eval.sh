#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_multiline.py b/tests/test_multiline.py
new file mode 100644
index 0000000..51e9178
--- /dev/null
+++ b/tests/test_multiline.py
@@ -0,0 +1,94 @@
+import io
+
+import pytest
+from logsift import Query, count_levels, read_records, sift
+from logsift.cli import main
+
+LOG = """\
+  File "tail.py", line 1, in rotated
+KeyError: 'away'
+2024-05-01 12:00:01,000 INFO shop.web: GET /cart
+2024-05-01 12:00:03,417 ERROR shop.cart: checkout failed
+Traceback (most recent call last):
+  File "cart.py", line 41, in checkout
+    total = prices[item]
+KeyError: 'apples'
+2024-05-01 12:00:04,000 INFO shop.web: POST /login
+2024-05-01 12:00:05,000 CRITICAL shop.db: pool is gone
+Traceback (most recent call last):
+ConnectionError: no route
+"""
+CHECKOUT = "\n".join(LOG.splitlines()[3:8])
+POOL = "\n".join(LOG.splitlines()[9:])
+
+
+@pytest.fixture
+def find():
+    def run(query, limit=None):
+        return [record.text for record in sift(read_records(io.StringIO(LOG)), Query.parse(query), limit)]
+
+    return run
+
+
+def test_traceback_is_printed_with_its_record():
+    out = io.StringIO()
+    assert main(["level=error"], io.StringIO(LOG), out) == 0
+    assert out.getvalue() == CHECKOUT + "\n"
+
+
+def test_last_record_is_complete(find):
+    assert find("level=critical") == [POOL]
+
+
+def test_text_of_the_traceback_finds_the_record(find):
+    assert find("apples") == [CHECKOUT]
+    assert find('level>=error "keyerror"') == [CHECKOUT]
+
+
+def test_negated_text_looks_at_the_traceback_too(find):
+    assert find("level>=error -KeyError") == [POOL]
+
+
+def test_limit_counts_records(find):
+    assert find("level>=error", limit=1) == [CHECKOUT]
+    assert len(find("shop", limit=3)) == 3
+
+
+def test_unfiltered_output_is_the_input(find):
+    assert "\n".join(find("")) + "\n" == LOG
+
+
+def test_counts_are_of_records():
+    assert count_levels(read_records(io.StringIO(LOG))) == {"critical": 1, "error": 1, "info": 2, "none": 1}
+
+
+def test_rotated_remains_are_one_record_and_stay_out(find):
+    assert find("rotated") == ["\n".join(LOG.splitlines()[:2])]
+    assert find("-level=info -level=error -level=critical") == ["\n".join(LOG.splitlines()[:2])]
+
+
+def test_line_that_is_no_date_belongs_to_the_record():
+    lines = [
+        "2024-05-01 12:00:00 INFO shop: dump",
+        "2024-13-01 12:00:00 INFO shop: x",
+        "2024-05-01 12:00:09 INFO shop: y",
+    ]
+    assert [record.lines for record in read_records(lines)] == [tuple(lines[:2]), tuple(lines[2:])]
+
+
+def test_records_of_two_files_are_not_joined(tmp_path):
+    (tmp_path / "a.log").write_text("2024-05-01 12:00:00 ERROR a: x\n")
+    (tmp_path / "b.log").write_text("left over\n2024-05-01 12:00:00 INFO b: y\n")
+    out = io.StringIO()
+    assert main(["level=error", str(tmp_path / "a.log"), str(tmp_path / "b.log")], None, out) == 0
+    assert out.getvalue() == "2024-05-01 12:00:00 ERROR a: x\n"
+
+
+def test_reading_is_lazy():
+    def lines():
+        yield from LOG.splitlines()[2:5]
+        yield from LOG.splitlines()[8:9]
+        raise AssertionError("read too far")
+
+    (record,) = sift(read_records(lines()), Query.parse("level=error"), limit=1)
+    assert len(record.lines) == 2
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_cli.py tests/test_multiline.py tests/test_query.py tests/test_reading.py
: '>>>>> End Test Output'
rm -f tests/test_multiline.py
