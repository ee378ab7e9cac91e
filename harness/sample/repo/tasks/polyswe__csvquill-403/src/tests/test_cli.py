import io
import json

from csvquill.cli import main

ORDERS = """\
# exported by shop 4.2
id,customer,total

1,"Miller, Ada",20
# refunds follow
2,"Bob ""the"" Builder",-5
"#3",Eve,7
"""


def query(text, *argv):
    out, err = io.StringIO(), io.StringIO()
    status = main(["-", *argv], io.StringIO(text, newline=""), out, err)
    return status, out.getvalue(), err.getvalue()


def test_comments_and_blank_lines_are_skipped():
    assert query(ORDERS, "--count") == (0, "3\n", "")


def test_fields_are_quoted_when_they_need_it():
    assert query(ORDERS, "--where", "id=1") == (0, 'id,customer,total\n1,"Miller, Ada",20\n', "")


def test_select_and_jsonl():
    status, out, _ = query(ORDERS, "--where", "total<0", "--select", "customer,id", "--format", "jsonl")
    assert status == 0
    assert json.loads(out) == {"customer": 'Bob "the" Builder', "id": "2"}


def test_no_match_is_status_1():
    assert query(ORDERS, "--where", "total>100", "--format", "jsonl") == (1, "", "")


def test_a_ragged_record_is_reported_with_its_line():
    status, _, err = query("a,b\n\n# two fields, please\n1,2\n3\n")
    assert status == 2
    assert err == "csvquill: -:5: expected 2 fields, found 1\n"


def test_an_open_quote_is_an_error():
    status, _, err = query('a,b\n1,"2\n')
    assert status == 2
    assert err.startswith("csvquill: -:2: ")


def test_missing_file(tmp_path):
    err = io.StringIO()
    assert main([str(tmp_path / "none.csv")], stderr=err) == 2
    assert "No such file" in err.getvalue()


def test_line_breaks_inside_quotes(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_bytes(b'\xef\xbb\xbfid,note\r\n1,"one\r\ntwo"\r\n')
    out = io.StringIO()
    assert main([str(path), "--format", "jsonl"], stdout=out) == 0
    assert json.loads(out.getvalue()) == {"id": "1", "note": "one\r\ntwo"}
