#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_cycles.py b/tests/test_cycles.py
new file mode 100644
index 0000000..8afdab2
--- /dev/null
+++ b/tests/test_cycles.py
@@ -0,0 +1,95 @@
+import itertools
+import random
+
+import pytest
+
+from depgraph import CycleError, Graph, batches, load, order
+
+
+def cycle_of(graph, schedule=order):
+    """The reported path, checked to be a real, simple and closed cycle along the arrows."""
+    with pytest.raises(CycleError) as caught:
+        schedule(graph)
+    path = caught.value.path
+    assert len(path) >= 2
+    assert path[0] == path[-1]
+    assert len(set(path)) == len(path) - 1
+    for task, need in itertools.pairwise(path):
+        assert need in graph.needs(task), f"{task} does not need {need}"
+    assert " -> ".join(path) in str(caught.value)
+    return path
+
+
+def test_lead_in_is_not_reported():
+    text = "release: build\nbuild: schema\nschema: codegen\ncodegen: schema\n"
+    assert set(cycle_of(load(text))) == {"schema", "codegen"}
+    assert set(cycle_of(load(text), batches)) == {"schema", "codegen"}
+
+
+def test_path_follows_the_arrows_and_not_the_order_of_mention():
+    graph = load("a:\nb:\nc:\na: c\nc: b\nb: a\n")
+    assert len(cycle_of(graph)) == 4
+    assert len(cycle_of(graph, batches)) == 4
+
+
+def test_tasks_between_two_cycles():
+    graph = load("a: b\nb: a c\nc: d\nd: e\ne: f\nf: e\n")
+    assert set(cycle_of(graph)) in ({"a", "b"}, {"e", "f"})
+
+
+def test_two_separate_cycles_are_not_merged():
+    graph = load("a: b\nb: a\nx: y\ny: z\nz: x\n")
+    assert set(cycle_of(graph)) in ({"a", "b"}, {"x", "y", "z"})
+
+
+def test_cycles_that_share_a_task():
+    graph = load("hub: left right\nleft: l2\nl2: hub\nright: r2\nr2: hub\n")
+    assert set(cycle_of(graph)) in ({"hub", "left", "l2"}, {"hub", "right", "r2"})
+
+
+def test_self_loop_behind_a_chain():
+    graph = load("a: b\nb: c\nc: c d\nd:\n")
+    assert cycle_of(graph) == ("c", "c")
+
+
+def test_finished_needs_are_not_followed():
+    graph = load("top: base mid\nmid: base low\nlow: base mid\nbase:\n")
+    assert set(cycle_of(graph)) == {"mid", "low"}
+
+
+def test_lead_in_of_a_generated_graph():
+    graph = Graph()
+    for number in range(1_500):
+        graph.add(f"t{number}", [f"t{number + 1}"])
+    graph.add("t1500", ["t1498"])
+    assert set(cycle_of(graph)) == {"t1498", "t1499", "t1500"}
+    assert set(cycle_of(graph, batches)) == {"t1498", "t1499", "t1500"}
+
+
+def test_long_cycle():
+    graph = Graph()
+    for number in range(1_500):
+        graph.add(f"t{number}", [f"t{(number + 1) % 1_500}"])
+    assert len(cycle_of(graph)) == 1_501
+
+
+def test_random_graphs():
+    dice = random.Random(302)
+    cyclic = 0
+    for _ in range(200):
+        size = dice.randint(2, 9)
+        graph = Graph()
+        for number in range(size):
+            graph.add(str(number))
+        for _ in range(dice.randint(1, 2 * size)):
+            graph.add(str(dice.randrange(size)), [str(dice.randrange(size))])
+        try:
+            done = order(graph)
+        except CycleError:
+            cyclic += 1
+            cycle_of(graph)
+            cycle_of(graph, batches)
+        else:
+            rank = {task: position for position, task in enumerate(done)}
+            assert all(rank[need] < rank[task] for task, need in graph.edges())
+    assert 50 < cyclic < 200
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_cycles.py tests/test_loader.py tests/test_schedule.py
: '>>>>> End Test Output'
rm -f tests/test_cycles.py
