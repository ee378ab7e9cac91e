"""From an outcome matrix to numbers a reader can trust: rows, intervals, tests, the results document and its tables."""
