from datetime import UTC, datetime

from rotator.naming import ArchiveName, next_name, parse

NOON = datetime(2025, 3, 1, 12, 0, 0, tzinfo=UTC)


def test_parse_is_the_inverse_of_str():
    for name in (ArchiveName("app.log", NOON), ArchiveName("app.log", NOON, 12), ArchiveName("a.b", NOON, 3, True)):
        assert parse(name.base, str(name)) == name


def test_other_files_are_not_archives():
    for filename in ("app.log", "app.log.bak", "app.log.20251301T000000", "app.log.20250301T120000.part", "xapp.log"):
        assert parse("app.log", filename) is None


def test_next_name_counts_on_after_the_highest_number():
    taken = [ArchiveName("app.log", NOON, 1, True), ArchiveName("app.log", NOON, 4)]
    assert str(next_name("app.log", NOON, taken)) == "app.log.20250301T120000-5"
    assert str(next_name("app.log", NOON, [])) == "app.log.20250301T120000"
