#!/bin/bash
set -uxo pipefail
cd /testbed
git config --global --add safe.directory /testbed
git status
git apply -v - <<'EOF_114329324912'
diff --git a/tests/test_adding_up.py b/tests/test_adding_up.py
new file mode 100644
index 0000000..9397ecd
--- /dev/null
+++ b/tests/test_adding_up.py
@@ -0,0 +1,102 @@
+from decimal import Decimal
+
+import pytest
+from billing import Invoice, Line, Money, statement
+
+
+def eur(amount):
+    return Money.of(amount, "EUR")
+
+
+def invoice_of(*amounts, discount=None, codes=None, currency="EUR"):
+    codes = codes or ["standard"] * len(amounts)
+    lines = [
+        Line(f"item {number}", Decimal(1), Money.of(amount, currency), code)
+        for number, (amount, code) in enumerate(zip(amounts, codes, strict=True), start=1)
+    ]
+    return Invoice("2024-0042", lines, None if discount is None else Money.of(discount, currency))
+
+
+def assert_adds_up(result):
+    currency = result.total.currency
+    assert Money.sum((line.net for line in result.lines), currency) == result.net
+    assert Money.sum((line.tax for line in result.lines), currency) == result.tax
+    assert Money.sum((line.total for line in result.lines), currency) == result.total
+    for group in result.groups:
+        members = [line for line in result.lines if line.line.tax_code == group.code]
+        assert Money.sum((line.net for line in members), currency) == group.net
+        assert Money.sum((line.tax for line in members), currency) == group.tax
+
+
+MIXED = invoice_of(
+    *("0.99", "3.49", "12.05", "7.77", "0.01"),
+    discount="3.33",
+    codes=["standard", "reduced", "standard", "exempt", "reduced"],
+)
+
+
+def test_three_equal_lines():
+    result = statement(invoice_of("10.00", "10.00", "10.00", discount="10.00"))
+    assert [line.discount for line in result.lines] == [eur("3.34"), eur("3.33"), eur("3.33")]
+    assert_adds_up(result)
+    assert result.total == eur("23.80")
+
+
+def test_leftover_cent_goes_to_the_largest_fraction():
+    result = statement(invoice_of("1.00", "2.00", "4.00", discount="1.00"))
+    assert [line.discount for line in result.lines] == [eur("0.14"), eur("0.29"), eur("0.57")]
+    result = statement(invoice_of("5.00", "1.00", "1.00", discount="1.00"))
+    assert [line.discount for line in result.lines] == [eur("0.72"), eur("0.14"), eur("0.14")]
+
+
+def test_free_line_gets_no_share():
+    result = statement(invoice_of("10.00", "10.00", "10.00", "0.00", discount="10.00"))
+    assert [line.discount for line in result.lines][3] == eur(0)
+    assert [line.tax for line in result.lines][3] == eur(0)
+    assert_adds_up(result)
+
+
+def test_taxes_of_lines_without_discount():
+    result = statement(invoice_of("0.13", "0.13", "0.13"))
+    assert [line.tax for line in result.lines] == [eur("0.03"), eur("0.02"), eur("0.02")]
+    assert_adds_up(result)
+
+
+def test_tax_codes_are_kept_apart():
+    result = statement(MIXED)
+    assert_adds_up(result)
+    assert result.lines[3].tax == eur(0)
+
+
+def test_yen():
+    result = statement(invoice_of(100, 100, 100, discount=50, currency="JPY"))
+    assert [line.discount.minor for line in result.lines] == [17, 17, 16]
+    assert_adds_up(result)
+
+
+@pytest.fixture
+def pairs():
+    invoices = [MIXED, invoice_of("10.00", "10.00", "10.00", discount="10.00"), invoice_of("0.13", "0.13", "0.13")]
+    return [(statement(invoice), statement(invoice.credit_note("C-1"))) for invoice in invoices]
+
+
+def test_credit_note_mirrors_every_line(pairs):
+    for billed, credited in pairs:
+        assert [line.discount for line in credited.lines] == [-line.discount for line in billed.lines]
+        assert [line.tax for line in credited.lines] == [-line.tax for line in billed.lines]
+        assert credited.total == -billed.total
+
+
+def test_credit_note_adds_up(pairs):
+    for _, credited in pairs:
+        assert_adds_up(credited)
+
+
+def test_everything_discounted():
+    result = statement(invoice_of("10.00", "5.00", discount="15.00"))
+    assert [line.total for line in result.lines] == [eur(0), eur(0)]
+    assert result.total == eur(0)
+
+
+def test_free_invoice():
+    assert statement(invoice_of("0.00", "0.00")).total == eur(0)
EOF_114329324912
: '>>>>> Start Test Output'
python3 -m pytest -rA --tb=short -p no:cacheprovider tests/test_adding_up.py tests/test_invoice.py tests/test_money.py
: '>>>>> End Test Output'
rm -f tests/test_adding_up.py
