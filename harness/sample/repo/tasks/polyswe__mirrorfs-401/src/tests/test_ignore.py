from mirrorfs import IgnoreRules


def test_name_at_any_depth():
    rules = IgnoreRules(["*.log"])
    assert rules.ignores("run.log", False)
    assert rules.ignores("deep/down/run.log", False)
    assert not rules.ignores("run.log.txt", False)


def test_directories_only():
    rules = IgnoreRules(["cache/"])
    assert rules.ignores("a/cache", True)
    assert not rules.ignores("a/cache", False)


def test_anchored():
    rules = IgnoreRules(["/build", "a/*.txt"])
    assert rules.ignores("build", True)
    assert not rules.ignores("sub/build", True)
    assert rules.ignores("a/x.txt", False)
    assert not rules.ignores("a/b/x.txt", False)


def test_later_patterns_win():
    rules = IgnoreRules(["*.log", "!keep.log", "# a comment", ""])
    assert rules.ignores("x.log", False)
    assert not rules.ignores("keep.log", False)
