import io

from logsift.cli import main

LOG = "2024-05-01 12:00:01,000 INFO web: up\n2024-05-01 12:00:02,000 ERROR web: down\n"


def run(*argv, stdin=LOG):
    out = io.StringIO()
    return main(list(argv), io.StringIO(stdin), out), out.getvalue()


def test_matching_records_are_printed():
    assert run("level=error") == (0, "2024-05-01 12:00:02,000 ERROR web: down\n")


def test_nothing_found():
    assert run("level=critical") == (1, "")


def test_count():
    assert run("--count", "web") == (0, "      1 error\n      1 info\n")


def test_bad_query(capsys):
    assert run("level=loud") == (2, "")
    assert "unknown level 'loud'" in capsys.readouterr().err


def test_files(tmp_path):
    (tmp_path / "a.log").write_text(LOG)
    (tmp_path / "b.log").write_text(LOG)
    assert run("--limit", "3", "", str(tmp_path / "a.log"), str(tmp_path / "b.log"))[1].count("\n") == 3
