#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_multiline.py b/tests/test_multiline.py
new file mode 100644
index 0000000..9c80fd3
--- /dev/null
+++ b/tests/test_multiline.py
@@ -0,0 +1,75 @@
+import io
+import json
+
+from csvquill.cli import main
+
+
+def records(text, *argv):
+    """Status and the records of `text`, through standard input."""
+    out, err = io.StringIO(), io.StringIO()
+    status = main(["-", "--format", "jsonl", *argv], io.StringIO(text, newline=""), out, err)
+    return status, [list(json.loads(line).values()) for line in out.getvalue().splitlines()]
+
+
+def message(text):
+    err = io.StringIO()
+    assert main(["-", "--count"], io.StringIO(text, newline=""), io.StringIO(), err) == 2
+    return err.getvalue()
+
+
+def test_blank_lines_inside_quotes():
+    assert records('id,body\n1,"a\n\n  \nb"\n') == (0, [["1", "a\n\n  \nb"]])
+
+
+def test_comment_characters_inside_quotes():
+    assert records('id,body\n1,"a\n# b\n  #c\nd"\n') == (0, [["1", "a\n# b\n  #c\nd"]])
+
+
+def test_closing_quote_on_a_line_with_a_comment_character():
+    assert records('id,body\n1,"a\n# b"\n2,c\n') == (0, [["1", "a\n# b"], ["2", "c"]])
+
+
+def test_header_over_several_lines():
+    status, found = records('id,"body\n\n# text"\n1,x\n', "--select", "body\n\n# text")
+    assert (status, found) == (0, [["x"]])
+
+
+def test_multi_line_field_in_a_file(tmp_path):
+    path = tmp_path / "t.csv"
+    path.write_bytes(b'id,body\r\n# c\r\n1,"a\r\n\r\n#b"\r\n')
+    out = io.StringIO()
+    assert main([str(path), "--format", "jsonl"], stdout=out) == 0
+    assert json.loads(out.getvalue()) == {"id": "1", "body": "a\r\n\r\n#b"}
+
+
+def test_where_sees_the_whole_field():
+    assert records('id,body\n1,"a\n# 3 errors"\n', "--where", "body~3 errors")[0] == 0
+
+
+def test_comments_after_a_multi_line_record_are_skipped():
+    assert records('id,body\n1,"a\n#b\n"\n# c\n\n2,d\n') == (0, [["1", "a\n#b\n"], ["2", "d"]])
+
+
+def test_quoted_first_field_is_no_comment():
+    assert records('id,body\n"#1",a\n"# 2\n",b\n') == (0, [["#1", "a"], ["# 2\n", "b"]])
+
+
+def test_quoted_empty_field_is_no_blank_line():
+    assert records('body\n""\n"\n"\nx\n') == (0, [[""], ["\n"], ["x"]])
+
+
+def test_quotes_in_comments_mean_nothing():
+    assert records('id,body\n# Ada\'s remark, "urgent\n1,a\n#"\n2,b\n') == (0, [["1", "a"], ["2", "b"]])
+
+
+def test_quotes_in_the_middle_of_a_bare_field_mean_nothing():
+    assert records('id,body\n1,disk 5" slow\n# comment\n\n2,b\n') == (0, [["1", 'disk 5" slow'], ["2", "b"]])
+
+
+def test_indented_comments_between_records():
+    assert records("id,body\n  # c\n1,a\n \t \n2,b\n") == (0, [["1", "a"], ["2", "b"]])
+
+
+def test_messages_count_every_line():
+    assert message('# c\n\na,b\n1,"x\n\n# y"\n\n3\n') == "csvquill: -:8: expected 2 fields, found 1\n"
+    assert message('a,b\n# c\n1,"x\n\n# y\n').startswith("csvquill: -:5: ")
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_cli.py tests/test_multiline.py tests/test_where.py
: '>>>>> End Test Output'
rm -f tests/test_multiline.py
