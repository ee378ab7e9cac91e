import gzip

from rotator import RetentionPolicy, Rotator


def names(live):
    return sorted(path.name for path in live.parent.iterdir())


def test_rotates_before_the_file_outgrows_the_limit(live, clock):
    log = Rotator(live, max_bytes=10, clock=clock)
    log.write("12345\n")
    log.write("6789\n")
    assert live.read_text() == "6789\n"
    assert names(live) == ["app.log", "app.log.20250301T120000"]


def test_an_empty_log_is_not_rotated(live, clock):
    log = Rotator(live, max_bytes=10, clock=clock)
    assert log.rotate() is None
    live.touch()
    assert log.rotate() is None


def test_two_rotations_within_one_second(live, clock):
    log = Rotator(live, max_bytes=3, clock=clock)
    for text in ("one", "two", "three"):
        log.write(text)
    assert names(live) == ["app.log", "app.log.20250301T120000", "app.log.20250301T120000-1"]


def test_all_but_the_newest_archive_are_compressed(live, clock):
    log = Rotator(live, max_bytes=100, compress=True, clock=clock)
    for text in ("one", "two", "three"):
        log.write(text)
        log.rotate()
        clock.advance(hours=1)
    assert names(live) == ["app.log.20250301T120000.gz", "app.log.20250301T130000.gz", "app.log.20250301T140000"]
    assert gzip.decompress(live.with_name("app.log.20250301T120000.gz").read_bytes()) == b"one"


def test_rotation_applies_the_policy(live, clock):
    log = Rotator(live, max_bytes=100, policy=RetentionPolicy(max_files=0), clock=clock)
    log.write("gone\n")
    log.rotate()
    assert names(live) == []
