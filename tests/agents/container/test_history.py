"""What lies after the base commit is gone from the agent's repository, and nothing else."""

from __future__ import annotations

import copy
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.container import environment
from agents.container.environment import Container, ContainerConfig
from agents.errors import ContainerError
from harness.docker.engine import RUN_LABEL
from harness.sample.base_image import BASE_IMAGE

pytestmark = pytest.mark.docker

PAST = """\
set -e
git init -q -b main . ; git config user.email t@example.invalid; git config user.name t
for i in 1 2 3; do echo past $i > file.txt; git add -A; git commit -q -m "past $i"; done
git tag v1; git branch old HEAD~1
"""
FUTURE = """\
note() { for part in "$1" "$1^{tree}" "$1:file.txt"; do git rev-parse "$part" >> $R.later; done; }
commit() { echo "$1" > file.txt; git add -A; git commit -q -m "$1"; note HEAD; }
commit future; git tag lightweight; git tag -a -m later annotated; git rev-parse annotated >> $R.later
git checkout -q -b topic; commit topic
git checkout -q main
git update-ref refs/remotes/origin/main topic; git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/main
git update-ref refs/pull/7/head topic; git update-ref refs/notes/commits topic
git remote add origin https://example.invalid/upstream.git; git config branch.main.remote origin
git config branch.main.merge refs/heads/main; git remote add 'odd name' https://example.invalid/odd.git || true
echo stashed > file.txt; git stash -q; note stash@{0}; git rev-parse refs/stash >> $R.later
commit dangling; git branch gone; git reset -q --hard HEAD~1; git branch -D -q gone
"""
ENDS = {
    "loose": "git reset -q --hard v1",
    "packed": "git reset -q --hard v1; git gc -q; git pack-refs --all",
    "cruft": "git reset -q --hard v1; git repack -q -d -a --cruft || git gc -q",
    "detached": "git checkout -q --detach v1; git gc -q",
    "kept pack": "git reset -q --hard v1; git gc -q; for p in .git/objects/pack/*.pack; do touch ${p%.pack}.keep; done",
    "alternates": (
        "git reset -q --hard v1; git gc -q; mv .git/objects $R.elsewhere; "
        "mkdir -p .git/objects/info .git/objects/pack; echo $R.elsewhere > .git/objects/info/alternates"
    ),
    "dangling only": (
        "git reset -q --hard v1; git for-each-ref --format='delete %(refname)' | grep -v refs/heads/main | "
        "git update-ref --no-deref --stdin; rm -rf .git/logs .git/ORIG_HEAD .git/refs/remotes; git repack -q -a -d -k"
    ),
    "graph": "git reset -q --hard v1; git gc -q; git commit-graph write --reachable; git multi-pack-index write",
    "merge": "git reset -q --hard v1; git merge -q --no-commit --no-ff topic || true; git reset -q; git checkout -q .",
}


@pytest.fixture(scope="module")
def machine() -> Iterator[Container]:
    """One container for all: each test has a repository of its own in it."""
    label = {RUN_LABEL: f"test-history-{uuid.uuid4().hex[:8]}"}
    with Container(ContainerConfig(image=BASE_IMAGE, labels=label, cwd="/tmp")) as container:
        yield container


@pytest.fixture
def container(machine: Container) -> Callable[..., Container]:
    """Makes a repository; the test then has its history cut, as starting a container does."""

    def make(*scripts: str, **fields: Any) -> Container:
        repository = copy.copy(machine)
        repository.config = machine.config.model_copy(update={"cwd": f"/tmp/{uuid.uuid4().hex[:8]}"} | fields)
        for script in ("mkdir -p $R", *scripts):
            done = machine.execute({"command": script.replace("$R", repository.config.cwd)}, cwd="/")
            assert done["returncode"] == 0, done["output"]
        environment._no_unreachable.clear()
        return repository

    return make


def out(container: Container, command: str) -> str:
    return str(container.execute({"command": command.replace("$R", container.config.cwd)})["output"])


@pytest.mark.parametrize("end", ENDS)
def test_no_later_object_can_be_read(container: Callable[..., Container], end: str) -> None:
    enter = "cd $R\n"
    repository = container(enter + PAST + FUTURE + ENDS[end])
    past = out(repository, "git rev-list --objects HEAD; git ls-files -s; git status --porcelain; cat file.txt")
    later = set(out(repository, "cat $R.later").split())
    assert len(later) >= 13
    if end != "dangling only":
        assert out(repository, "git log --all --format=%s").count("future") >= 1

    repository._cut_history()

    reads = "git cat-file -e $sha || git show $sha || git cat-file -p $sha"
    assert out(repository, f"for sha in {' '.join(later)}; do ({reads}) > /dev/null 2>&1 && echo $sha; done") == ""
    assert out(repository, "git fsck --full --unreachable --lost-found --no-progress") == ""
    assert out(repository, "git rev-list --objects HEAD; git ls-files -s; git status --porcelain; cat file.txt") == past
    refs = out(repository, "git for-each-ref --format='%(refname)'").split()
    assert refs == ([] if end == "detached" else ["refs/heads/main"])
    assert out(repository, "git log --all --reflog --format=%s").split("\n") == ["past 3", "past 2", "past 1", ""]
    assert out(repository, "git remote; git stash list; git reflog; git tag; ls .git | grep -E 'HEAD.|_HEAD'") == ""
    everything = "cat .git/config .git/packed-refs .git/info/* .git/objects/info/* 2> /dev/null"
    assert "example.invalid/" not in out(repository, everything)
    assert not [sha for sha in later if sha in out(repository, everything)]
    # and the repository still works
    assert repository.base_commit == out(repository, "git rev-parse HEAD").strip()
    out(repository, "echo work > file.txt; git commit -qam work; git checkout -q -b mine; git stash list")
    assert "+work" in repository.diff()


def test_an_untouched_repository_is_left_as_it_is(container: Callable[..., Container]) -> None:
    repository = container(f"cd $R\n{PAST}\ngit tag -d v1; git branch -D old; git gc -q")
    listing = "cd .git; find objects/?? objects/pack -type f | sort | xargs ls -i"
    before = out(repository, listing)
    repository._cut_history()
    assert out(repository, listing) == before


def test_later_commits_of_submodules_go_too(container: Callable[..., Container]) -> None:
    repository = container(
        f"mkdir /library; cd /library\n{PAST}\n{FUTURE}\ngit reset -q --hard topic",
        "cd $R; git init -q -b main .; git config user.email t@example.invalid; git config user.name t; "
        "git -c protocol.file.allow=always submodule -q add /library lib && git -C lib reset -q --hard v1 && "
        "git add -A && git commit -q -m base && rm -rf /library",
    )
    assert "topic" in out(repository, "git -C lib log --all --format=%s")
    repository._cut_history()
    assert out(repository, "git -C lib log --all --reflog --format=%s").split("\n")[0] == "past 3"
    assert (
        out(repository, "for sha in $(cat $R.later); do git -C lib cat-file -e $sha 2>/dev/null && echo $sha; done")
        == ""
    )
    assert out(repository, "git status --porcelain; git submodule status").startswith(" ")


def test_the_history_may_be_kept(container: Callable[..., Container]) -> None:
    repository = container(f"cd $R\n{PAST}{FUTURE}git reset -q --hard v1", hide_later_history=False)
    repository._cut_history()
    assert "future" in out(repository, "git log --all --format=%s")
    assert repository.base_commit == out(repository, "git rev-parse v1").strip()


def test_what_cannot_be_cut_is_refused(container: Callable[..., Container]) -> None:
    repository = container("mkdir /origin; cd /origin\n" + PAST + "rmdir $R; git worktree add -q --detach $R v1")
    with pytest.raises(ContainerError, match=r"it is a linked worktree.*hide_later_history: false"):
        repository._cut_history()
    broken = container(f"cd $R\n{PAST}{FUTURE}git reset -q --hard v1; rm -rf .git/objects/??; true")
    broken.base_commit = "untouched"
    broken._cut_history()  # not even HEAD can be read: no repository, as far as anyone can tell
    assert broken.base_commit == "untouched"


def test_the_graded_image_is_untouched(container: Callable[..., Container]) -> None:
    identity = ["docker", "image", "inspect", "-f", "{{.Id}}", BASE_IMAGE]
    before = subprocess.run(identity, capture_output=True, check=True).stdout
    container(f"cd $R\n{PAST}")._cut_history()
    assert subprocess.run(identity, capture_output=True, check=True).stdout == before
