"""grep for application logs."""

from logsift.query import Query, QueryError
from logsift.reader import read_records
from logsift.record import Record
from logsift.sift import count_levels, sift

__all__ = ["Query", "QueryError", "Record", "count_levels", "read_records", "sift"]
