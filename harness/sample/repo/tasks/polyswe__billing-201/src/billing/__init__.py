"""Invoices that add up."""

from billing.instalments import instalments
from billing.invoice import Invoice, InvoiceError, Line
from billing.money import CurrencyError, Money
from billing.render import render
from billing.statement import LineStatement, Statement, TaxGroup, statement
from billing.tax import UnknownTaxCodeError

__all__ = [
    "CurrencyError",
    "Invoice",
    "InvoiceError",
    "Line",
    "LineStatement",
    "Money",
    "Statement",
    "TaxGroup",
    "UnknownTaxCodeError",
    "instalments",
    "render",
    "statement",
]
