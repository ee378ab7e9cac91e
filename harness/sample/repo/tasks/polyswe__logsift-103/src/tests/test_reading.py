from datetime import datetime

from logsift import Query, count_levels, read_records, sift

LOG = """\
2024-05-01 12:00:01,000 INFO shop.web: GET /cart
2024-05-01 12:00:02,250 WARN shop.cart: slow query (1.2 s)

2024-05-01 12:00:03,417 ERROR shop.cart: checkout failed
2024-05-01 12:00:04 [info] health: ok
""".splitlines(keepends=True)


def test_headers_are_parsed():
    records = list(read_records(LOG))
    assert [record.level for record in records] == ["info", "warn", "error", "info"]
    assert records[1].time == datetime(2024, 5, 1, 12, 0, 2, 250000)
    assert records[3].logger == "health"


def test_text_is_kept_as_it_was():
    assert next(read_records(LOG)).text == "2024-05-01 12:00:01,000 INFO shop.web: GET /cart"


def test_sift():
    found = sift(read_records(LOG), Query.parse("logger=shop level<=warning"))
    assert [record.level for record in found] == ["info", "warn"]


def test_limit_stops_reading():
    def lines():
        yield from LOG[:2]
        raise AssertionError("read too far")

    found = sift(read_records(lines()), Query.parse("shop"), limit=1)
    assert [record.logger for record in found] == ["shop.web"]


def test_impossible_dates_are_no_headers():
    (record,) = read_records(["2024-13-01 12:00:00 INFO shop: x"])
    assert record.time is None
    assert record.text == "2024-13-01 12:00:00 INFO shop: x"


def test_counts():
    assert count_levels(read_records(LOG)) == {"error": 1, "warning": 1, "info": 2}
