"""The report people read: one self-contained page, and a page for each cell."""

from harness.report.html.write import REPORT, write_report

__all__ = ["REPORT", "write_report"]
