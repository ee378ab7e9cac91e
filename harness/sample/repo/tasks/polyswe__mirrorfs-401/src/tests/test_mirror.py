import pytest

from mirrorfs import IgnoreRules, MirrorError, apply, plan
from mirrorfs.cli import main


def mirror(source, target, *patterns, delete=False):
    rules = IgnoreRules(patterns)
    return [str(action) for action in apply(plan(source, target, rules, delete), source, target)]


def test_new_changed_and_equal(tree, listing):
    source = tree("s", {"a.txt": "a", "sub/b.txt": "b", "sub/c.txt": "c", "empty": None})
    target = tree("t", {"a.txt": "A", "sub/b.txt": "b"})
    assert mirror(source, target) == ["+ empty/", "~ a.txt", "+ sub/c.txt"]
    assert listing(source) == listing(target)
    assert mirror(source, target) == []


def test_target_is_made(tree, listing, tmp_path):
    source = tree("s", {"x/y.txt": "1"})
    assert mirror(source, tmp_path / "fresh") == ["+ x/", "+ x/y.txt"]
    assert listing(tmp_path / "fresh") == ["x/", "x/y.txt"]


def test_extra_things_stay_without_delete(tree, listing):
    source = tree("s", {"a": "a"})
    target = tree("t", {"b": "b", "old/c": "c"})
    assert mirror(source, target) == ["+ a"]
    assert listing(target) == ["a", "b", "old/", "old/c"]


def test_delete(tree, listing):
    source = tree("s", {"a": "a", "sub/x": "x"})
    target = tree("t", {"b": "b", "old/c": "c", "old/deep/d": "d", "sub/y": "y"})
    assert mirror(source, target, delete=True) == ["- b", "- old/", "- sub/y", "+ a", "+ sub/x"]
    assert listing(target) == ["a", "sub/", "sub/x"]


def test_ignored_things_are_not_copied(tree, listing):
    source = tree("s", {"a.txt": "a", "a.log": "l", "cache/x.txt": "x", "sub/cache/y": "y"})
    target = tree("t", {})
    mirror(source, target, "*.log", "cache/")
    assert listing(target) == ["a.txt", "sub/"]


def test_dry_run_prints_the_same_and_changes_nothing(tree, listing, capsys):
    source = tree("s", {"a": "a", "n/m": "m"})
    target = tree("t", {"a": "b", "old/c": "c"})
    assert main([str(source), str(target), "--delete", "--dry-run"]) == 0
    dry = capsys.readouterr().out
    assert listing(target) == ["a", "old/", "old/c"]
    assert main([str(source), str(target), "--delete"]) == 0
    assert capsys.readouterr().out == dry


def test_file_against_directory(tree, capsys):
    source = tree("s", {"x": "file"})
    target = tree("t", {"x/y": "directory"})
    with pytest.raises(MirrorError, match="x is a file on one side"):
        plan(source, target)
    assert main([str(source), str(target)]) == 2
    assert "directory on the other" in capsys.readouterr().err


def test_missing_source(tmp_path):
    with pytest.raises(MirrorError, match="not a directory"):
        plan(tmp_path / "nowhere", tmp_path)
