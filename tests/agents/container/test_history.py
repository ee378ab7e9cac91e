"""What lies after the base commit is gone from the agent's repository, and nothing else."""

from __future__ import annotations

import copy
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from agents.container.config import ContainerConfig
from agents.container.environment import Container
from agents.container.history import DERIVED_FROM_LABEL
from agents.container.host import DockerHost
from agents.errors import ContainerError
from harness.docker.engine import RUN_LABEL
from harness.docker.images import Images
from harness.sample.base_image import BASE_IMAGE

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

PAST = """\
set -e
git init -q -b main . ; git config user.email t@example.invalid; git config user.name t
for i in 1 2 3; do echo past $i > file.txt; git add -A; git commit -q -m "past $i"; done
git tag v1; git branch old HEAD~1
git tag -a -m 'the first release' 0.1 HEAD~2; git tag -a -m 'a tag on a tag' nested 0.1
signed() { # as gpg or ssh would have signed it: a signature is a part of the tag's text
    printf '%s\\n' "object $(git rev-parse "$2")" 'type commit' "tag $1" 'tagger t <t@t> 1700000000 +0000' '' \\
        signed "-----BEGIN $3 SIGNATURE-----" AAAA "-----END $3 SIGNATURE-----" | git hash-object -t tag -w --stdin
}
git update-ref refs/tags/0.2 "$(signed 0.2 HEAD~1 PGP)"; git update-ref refs/tags/0.2-ssh "$(signed 0.2-ssh HEAD~1 SSH)"
"""
FUTURE = """\
note() { for part in "$1" "$1^{tree}" "$1:file.txt"; do git rev-parse "$part" >> $R.later; done; }
commit() { echo "$1" > file.txt; git add -A; git commit -q -m "$1"; note HEAD; }
commit future; git tag lightweight; git tag -a -m later annotated; git rev-parse annotated >> $R.later
git update-ref refs/tags/0.3 "$(signed 0.3 HEAD PGP)"; git rev-parse refs/tags/0.3 >> $R.later
git tag tree 'HEAD^{tree}'; git tag -a -m blob blob HEAD:file.txt; git rev-parse blob >> $R.later
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
        "git reset -q --hard v1; git for-each-ref --format='delete %(refname)' | "
        "grep -vE ' refs/(heads/main|tags/(v1|0.1|0.2|0.2-ssh|nested))$' | git update-ref --no-deref --stdin; "
        "rm -rf .git/logs .git/ORIG_HEAD .git/refs/remotes; git repack -q -a -d -k"
    ),
    "graph": "git reset -q --hard v1; git gc -q; git commit-graph write --reachable; git multi-pack-index write",
    "worktrees": (
        "git worktree add -q --detach $R.topic topic; git worktree add -q --detach $R.old v1; git reset -q --hard v1"
    ),
    "fetched": (
        "git reset -q --hard v1; git fetch -q . topic; git branch -D -q topic; git update-ref ORIG_HEAD FETCH_HEAD; "
        "git gc -q"
    ),
    "broken reference": (
        "git reset -q --hard v1; git gc -q; echo 1234567890123456789012345678901234567890 > .git/refs/heads/lost"
    ),
    "shallow": (
        "git clone -q --no-single-branch --depth 2 file://$R $R.shallow; mv .git $R.whole; mv $R.shallow/.git .git; "
        "git config user.email t@example.invalid; git config user.name t; git reset -q --hard v1; rm -rf $R.whole"
    ),
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
        return repository

    return make


def out(container: Container, command: str) -> str:
    return str(container.execute({"command": command.replace("$R", container.config.cwd)})["output"])


TAGS = ["0.1", "0.2", "0.2-ssh", "nested", "v1"]


@pytest.mark.parametrize("end", ENDS)
def test_no_later_object_can_be_read(container: Callable[..., Container], end: str) -> None:
    enter = "cd $R\n"
    repository = container(enter + PAST + FUTURE + ENDS[end])
    kept = "git rev-list --objects HEAD; git ls-files -s; git status --porcelain; cat file.txt"
    describe = "git describe --tags --long; git describe; git describe --tags --match '0.*'; git log --decorate=no"
    tags = f"for tag in {' '.join(TAGS)}; do git rev-parse $tag; git cat-file -p $tag; done"
    past = out(repository, f"{kept}; {describe}; {tags}")
    later = set(out(repository, "cat $R.later").split())
    assert len(later) >= 15
    assert out(repository, "git describe --tags").split("-")[0] == "v1\n"
    assert out(repository, f"for sha in {' '.join(later)}; do git cat-file -e $sha 2> /dev/null && echo $sha; done")

    assert repository._examine_history("hide")

    reads = "git cat-file -e $sha || git show $sha || git cat-file -p $sha"
    assert out(repository, f"for sha in {' '.join(later)}; do ({reads}) > /dev/null 2>&1 && echo $sha; done") == ""
    assert out(repository, "git fsck --full --unreachable --lost-found --no-progress") == ""
    assert out(repository, f"{kept}; {describe}; {tags}") == past
    refs = out(repository, "git for-each-ref --format='%(refname)' | grep -v ^refs/tags/").split()
    assert refs == ([] if end == "detached" else ["refs/heads/main"])
    assert out(repository, "git tag").split() == TAGS
    assert "future" not in out(repository, "git log --all --reflog --format=%s")
    assert out(repository, "git remote; git stash list; git reflog; ls .git | grep -E 'HEAD.|_HEAD'") == ""
    assert out(repository, "ls $R.topic 2> /dev/null; git worktree list | wc -l").split() == ["1"]
    everything = "cat .git/config .git/packed-refs .git/shallow .git/info/* .git/objects/info/* 2> /dev/null"
    assert "example.invalid/" not in out(repository, everything)
    assert not [sha for sha in later if sha in out(repository, everything)]
    # and the repository still works
    assert repository.base_commit == out(repository, "git rev-parse HEAD").strip()
    out(repository, "echo work > file.txt; git commit -qam work; git checkout -q -b mine; git stash list")
    assert "+work" in repository.diff()


def test_an_untouched_repository_is_left_as_it_is(container: Callable[..., Container]) -> None:
    repository = container(f"cd $R\n{PAST}\ngit update-ref refs/remotes/origin/old old; git gc -q; echo > note.txt")
    listing = "find . -type f | sort | xargs ls -i"
    before = out(repository, listing)
    assert not repository._examine_history("hide")
    assert out(repository, listing) == before


def test_later_commits_of_submodules_go_too(container: Callable[..., Container]) -> None:
    repository = container(
        f"mkdir /library; cd /library\n{PAST}\n{FUTURE}\ngit reset -q --hard topic",
        "cd $R; git init -q -b main .; git config user.email t@example.invalid; git config user.name t; "
        "git -c protocol.file.allow=always submodule -q add /library lib && git -C lib reset -q --hard v1 && "
        "git add -A && git commit -q -m base && rm -rf /library",
    )
    assert "topic" in out(repository, "git -C lib log --all --format=%s")
    repository._examine_history("hide")
    assert out(repository, "git -C lib log --all --reflog --format=%s").split("\n")[0] == "past 3"
    assert (
        out(repository, "for sha in $(cat $R.later); do git -C lib cat-file -e $sha 2>/dev/null && echo $sha; done")
        == ""
    )
    assert out(repository, "git status --porcelain; git submodule status").startswith(" ")


def test_the_history_may_be_kept(container: Callable[..., Container]) -> None:
    repository = container(f"cd $R\n{PAST}{FUTURE}git reset -q --hard v1", hide_later_history=False)
    repository._examine_history("keep")
    assert "future" in out(repository, "git log --all --format=%s")
    assert repository.base_commit == out(repository, "git rev-parse v1").strip()


def test_what_cannot_be_cut_is_refused(container: Callable[..., Container]) -> None:
    repository = container("mkdir /origin; cd /origin\n" + PAST + "rmdir $R; git worktree add -q --detach $R v1")
    with pytest.raises(ContainerError, match=r"it is a linked worktree.*hide_later_history: false"):
        repository._examine_history("hide")
    broken = container(f"cd $R\n{PAST}{FUTURE}git reset -q --hard v1; rm -rf .git/objects/??; true")
    broken.base_commit = "untouched"
    broken._examine_history("hide")  # not even HEAD can be read: no repository, as far as anyone can tell
    assert broken.base_commit == "untouched"


@pytest.fixture
def later_image(image: str, labels: dict[str, str]) -> Iterator[str]:
    """An image whose repository holds a later commit, gone at the end with what was made from it."""
    name = f"polyswe-history-test:{uuid.uuid4().hex[:12]}"
    more = "echo fix >> calc.py && git commit -qam fix && git tag later && git reset -q --hard HEAD~1"
    recipe = f"FROM {image}\nRUN git tag -a -m release 1.0 && {more}\nLABEL polyswe.test.later={name}\n"
    subprocess.run(["docker", "build", "-q", "-t", name, "-"], input=recipe, text=True, capture_output=True, check=True)
    identity = docker("image", "inspect", "-f", "{{.Id}}", name)[0]
    yield name
    derived = docker("images", "-q", "--filter", f"label={DERIVED_FROM_LABEL}={identity}")
    subprocess.run(["docker", "rmi", "-f", *derived, name], capture_output=True)


def docker(*arguments: str) -> list[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.split()


def derived_images(image: str) -> list[str]:
    identity = docker("image", "inspect", "-f", "{{.Id}}", image)[0]
    return docker("images", "-q", "--no-trunc", "--filter", f"label={DERIVED_FROM_LABEL}={identity}")


def images_of_containers(labels: dict[str, str]) -> set[str]:
    names = docker("ps", "-q", *(part for label in labels.items() for part in ("--filter", f"label={'='.join(label)}")))
    return set(docker("inspect", "-f", "{{.Image}}", *names))


def test_an_image_is_cut_once_for_all_of_its_containers_and_for_later_runs(
    later_image: str, labels: dict[str, str], engine: DockerClient
) -> None:
    before = docker("image", "inspect", "-f", "{{.Id}}", later_image)
    config = ContainerConfig(image=later_image, labels=labels)
    with ExitStack() as stack:
        host = DockerHost()
        cells = [Container(config, host=host) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(stack.enter_context, cells))
        other_run = stack.enter_context(Container(config, host=DockerHost()))
        derived = derived_images(later_image)
        assert len(derived) == 1
        assert images_of_containers(labels) == set(derived)
        for cell in (*cells, other_run):
            assert out(cell, "git log --all --format=%s; git tag; git describe") == "base\n1.0\n1.0\n"
            assert cell.base_commit == out(cell, "git rev-parse HEAD").strip()
            out(cell, "echo work >> calc.py")
            assert "+work" in cell.diff()
    assert docker("image", "inspect", "-f", "{{.Id}}", later_image) == before  # it is what is graded
    assert docker("image", "inspect", "-f", f'{{{{index .Config.Labels "{RUN_LABEL}"}}}}', derived[0]) == []
    Images(engine)._remove(later_image)
    assert docker("images", "-q", "--no-trunc", "--filter", f"label={DERIVED_FROM_LABEL}={before[0]}") == []
    assert docker("images", "-q", later_image) == []


def test_an_image_without_later_history_is_examined_once_and_used_as_it_is(
    image: str, labels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    examine = Container._examine_history
    monkeypatch.setattr(Container, "_examine_history", lambda self, mode: looks.append(mode) or examine(self, mode))
    host = DockerHost()
    with ExitStack() as stack:
        cells = [Container(ContainerConfig(image=image, labels=labels), host=host) for _ in range(3)]
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(stack.enter_context, cells))
        assert images_of_containers(labels) == set(docker("image", "inspect", "-f", "{{.Id}}", image))
        assert {cell.base_commit for cell in cells} == {out(cells[0], "git rev-parse HEAD").strip()}
    assert looks == ["hide"]
    assert derived_images(image) == []
