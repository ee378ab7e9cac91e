#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_protected.py b/tests/test_protected.py
new file mode 100644
index 0000000..d441634
--- /dev/null
+++ b/tests/test_protected.py
@@ -0,0 +1,79 @@
+"""Ignored things in the target survive, wherever they are."""
+
+from mirrorfs import IgnoreRules, apply, plan
+from mirrorfs.cli import main
+
+
+def mirror(source, target, *patterns):
+    rules = IgnoreRules(patterns)
+    return [str(action) for action in apply(plan(source, target, rules, delete=True), source, target)]
+
+
+def test_ignored_at_the_top(tree, listing):
+    source = tree("s", {"index.html": "new"})
+    target = tree("t", {"access.log": "1", "uploads/me.png": "2", "stale.html": "3"})
+    assert mirror(source, target, "*.log", "uploads/") == ["- stale.html", "+ index.html"]
+    assert listing(target) == ["access.log", "index.html", "uploads/", "uploads/me.png"]
+
+
+def test_ignored_in_a_directory_both_sides_have(tree, listing):
+    source = tree("s", {"sub/a": "a"})
+    target = tree("t", {"sub/a": "a", "sub/b": "b", "sub/x.log": "x"})
+    assert mirror(source, target, "*.log") == ["- sub/b"]
+    assert listing(target) == ["sub/", "sub/a", "sub/x.log"]
+
+
+def test_ignored_in_a_superfluous_directory(tree, listing):
+    source = tree("s", {"a": "a"})
+    target = tree("t", {"a": "a", "old/b": "b", "old/x.log": "x"})
+    assert mirror(source, target, "*.log") == ["- old/b"]
+    assert listing(target) == ["a", "old/", "old/x.log"]
+
+
+def test_ignored_deep_in_a_superfluous_directory(tree, listing):
+    source = tree("s", {})
+    target = tree("t", {"old/b": "b", "old/p/q/x.log": "x", "old/p/c": "c", "old/r/d": "d", "old/r/s/e": "e"})
+    assert mirror(source, target, "*.log") == ["- old/b", "- old/p/c", "- old/r/"]
+    assert listing(target) == ["old/", "old/p/", "old/p/q/", "old/p/q/x.log"]
+
+
+def test_ignored_directory_in_a_superfluous_directory(tree, listing):
+    source = tree("s", {})
+    target = tree("t", {"old/b": "b", "old/cache/k": "k"})
+    assert mirror(source, target, "cache/") == ["- old/b"]
+    assert listing(target) == ["old/", "old/cache/", "old/cache/k"]
+
+
+def test_superfluous_directories_still_go_as_a_whole(tree, listing):
+    source = tree("s", {})
+    target = tree("t", {"old/b": "b", "old/p/c": "c", "older/x.txt": "x", "kept.log": "k"})
+    assert mirror(source, target, "*.log") == ["- old/", "- older/"]
+    assert listing(target) == ["kept.log"]
+
+
+def test_names_taken_back_in_are_not_protected(tree, listing):
+    source = tree("s", {})
+    target = tree("t", {"old/drop.log": "d", "old2/keep.log": "k"})
+    assert mirror(source, target, "*.log", "!drop.log") == ["- old/"]
+    assert listing(target) == ["old2/", "old2/keep.log"]
+
+
+def test_second_run_has_nothing_left_to_do(tree):
+    source = tree("s", {"a": "a"})
+    target = tree("t", {"old/b": "b", "old/p/x.log": "x"})
+    mirror(source, target, "*.log")
+    assert mirror(source, target, "*.log") == []
+
+
+def test_dry_run_agrees_with_the_run(tree, listing, capsys):
+    source = tree("s", {"a": "a"})
+    target = tree("t", {"old/b": "b", "old/p/x.log": "x", "gone/c": "c", "access.log": "l"})
+    command = [str(source), str(target), "--delete", "--ignore", "*.log"]
+    before = listing(target)
+    assert main([*command, "--dry-run"]) == 0
+    dry = capsys.readouterr().out
+    assert dry.splitlines() == ["- gone/", "- old/b", "+ a"]
+    assert listing(target) == before
+    assert main(command) == 0
+    assert capsys.readouterr().out == dry
+    assert listing(target) == ["a", "access.log", "old/", "old/p/", "old/p/x.log"]
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_ignore.py tests/test_mirror.py tests/test_protected.py
: '>>>>> End Test Output'
rm -f tests/test_protected.py
