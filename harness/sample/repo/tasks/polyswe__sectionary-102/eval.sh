#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_inheritance.py b/tests/test_inheritance.py
new file mode 100644
index 0000000..2ec4885
--- /dev/null
+++ b/tests/test_inheritance.py
@@ -0,0 +1,95 @@
+import pytest
+from sectionary import Config, CycleError, LookupFailedError
+
+DEPLOY = """
+[service]
+host = localhost
+port = 8000
+url = http://${host}:${port}/
+health = ${url}health
+
+[worker : service]
+port = 9000
+
+[mailer : worker]
+host = mail.internal
+upstream = ${service:url}
+
+[status]
+page = ${worker:health} ${service:health}
+"""
+
+
+@pytest.fixture
+def config():
+    return Config.from_text(DEPLOY)
+
+
+def test_inherited_value_uses_own_port(config):
+    assert config.get("worker", "url") == "http://localhost:9000/"
+
+
+def test_inherited_value_through_another_inherited_value(config):
+    assert config.get("worker", "health") == "http://localhost:9000/health"
+
+
+def test_two_levels(config):
+    assert config.get("mailer", "url") == "http://mail.internal:9000/"
+
+
+def test_order_of_reads_does_not_matter(config):
+    reads = [("service", "url"), ("worker", "url"), ("mailer", "url"), ("service", "url"), ("worker", "url")]
+    assert [config.get(*read) for read in reads] == [
+        "http://localhost:8000/",
+        "http://localhost:9000/",
+        "http://mail.internal:9000/",
+        "http://localhost:8000/",
+        "http://localhost:9000/",
+    ]
+
+
+def test_named_section_keeps_its_own_values(config):
+    assert config.get("mailer", "upstream") == "http://localhost:8000/"
+
+
+def test_outsider_sees_each_section_as_it_is(config):
+    assert config.get("status", "page") == "http://localhost:9000/health http://localhost:8000/health"
+
+
+def test_child_may_extend_a_value_of_its_parent():
+    base = "[base]\nroot = /srv\npath = ${root}/bin\n"
+    config = Config.from_text(base + "[app : base]\nroot = /opt\npath = ${base:path}:${root}/bin\n")
+    assert config.get("app", "path") == "/srv/bin:/opt/bin"
+
+
+def test_parent_value_seen_by_two_sections_is_no_cycle():
+    config = Config.from_text("[base]\nlabel = <${name}>\nname = base\n[app : base]\nname = app in ${base:label}\n")
+    assert config.get("app", "label") == "<app in <base>>"
+
+
+def test_real_cycle_between_child_and_parent():
+    config = Config.from_text("[base]\nlabel = <${name}>\nname = ${app:label}\n[app : base]\n")
+    with pytest.raises(CycleError):
+        config.get("app", "label")
+
+
+def test_parent_may_rely_on_a_key_of_the_child():
+    config = Config.from_text("[app : template]\nname = shop\n[template]\nlog = /var/log/${name}.log\n")
+    assert config.get("app", "log") == "/var/log/shop.log"
+    with pytest.raises(LookupFailedError, match=r"no key 'name' in .template., needed by .template. log"):
+        config.get("template", "log")
+
+
+def test_override_in_the_child_and_in_the_parent(config):
+    assert config.get("worker", "url") == "http://localhost:9000/"
+    config.override("worker", "port", "9001")
+    assert config.get("worker", "url") == "http://localhost:9001/"
+    config.override("service", "host", "example.org")
+    assert config.get("worker", "url") == "http://example.org:9001/"
+    assert config.get("service", "url") == "http://example.org:8000/"
+
+
+def test_text_and_own_keys_hold_only_what_was_written(config):
+    assert config.get("worker", "url") == "http://localhost:9000/"
+    assert config.own_keys("worker") == ["port"]
+    assert "[worker : service]\nport = 9000\n\n" in config.to_text()
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_config.py tests/test_inheritance.py tests/test_parser.py
: '>>>>> End Test Output'
rm -f tests/test_inheritance.py
