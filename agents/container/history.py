"""Hide what lies after the base commit: an agent that reads the fix in the repository solves nothing."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field

from agents.container.scripts import CLEAN_GIT

NO_COMMIT = 40
"""Exit code of the script: there is no repository, or no commit in it."""
LINKED_WORKTREE = 41
"""Exit code of the script: the repository is a linked worktree of another one, whose history is not ours to cut."""
DERIVED_REPOSITORY = "polyswe-history"
"""Repository of the images whose later history is cut; the tag names the image, the folder and the script."""
DERIVED_FROM_LABEL = "polyswe.history-of"
"""Label of such an image: the id of the image it is made from."""
BASE_COMMIT_LABEL = "polyswe.base-commit"
"""Label of such an image: the commit that HEAD names."""

HIDE = (
    CLEAN_GIT
    + r"""
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
git() { command git -c core.hooksPath=/dev/null -c core.logAllRefUpdates=false "$@"; }

kept_refs() { # HEAD's branch, and the tags that HEAD reaches
    git symbolic-ref -q HEAD || true
    git for-each-ref --merged=HEAD --format='%(refname)' refs/tags
}

named() { # every object that a file of git's own names
    cat ./*HEAD packed-refs shallow info/refs 2> /dev/null || true
    find refs logs -type f -exec cat {} + 2> /dev/null || true
    git for-each-ref --format='%(objectname)'
}

later() { # what is there, or is named, beyond what HEAD, its tags and the index reach
    { echo HEAD; kept_refs | grep '^refs/tags/' || true; } |
        git rev-list --objects --indexed-objects --stdin > "$scratch/list"
    cut -d ' ' -f 1 "$scratch/list" | LC_ALL=C sort -u > "$scratch/reached"
    git cat-file --batch-all-objects --batch-check='%(objectname)' > "$scratch/all"
    named | grep -oE '[0-9a-f]{40}([0-9a-f]{24})?' | grep -v '^0*$' >> "$scratch/all" || true
    LC_ALL=C sort -u "$scratch/all" | LC_ALL=C comm -23 - "$scratch/reached"
    for name in objects/info/alternates worktrees/* rebase-merge rebase-apply sequencer MERGE_MSG AUTO_MERGE; do
        [ ! -e "$name" ] || echo "$name"
    done
}

remove_worktrees() { # linked ones; where one has a later commit checked out, its files too
    for tree in worktrees/*; do
        [ -f "$tree/gitdir" ] && [ -f "$tree/HEAD" ] || continue
        folder=$(dirname "$(cat "$tree/gitdir")")
        commit=$(GIT_DIR="$PWD/$tree" git rev-parse -q --verify HEAD) || commit=
        grep -qxF "$commit" "$scratch/reached" || [ ! -f "$folder/.git" ] || rm -rf "$folder"
    done
    rm -rf worktrees
}

cut_off() {
    kept_refs > "$scratch/kept"
    remove_worktrees
    [ ! -d reftable ] || git reflog expire --expire=now --all
    rm -rf logs rebase-merge rebase-apply sequencer rr-cache lost-found objects/info/commit-graphs
    rm -f ./*_HEAD MERGE_MSG AUTO_MERGE BISECT_* gitk.cache info/refs objects/info/packs objects/info/commit-graph \
        objects/pack/*.keep objects/pack/multi-pack-index*
    if [ -d reftable ]; then
        git for-each-ref --format='%(refname)' | grep -vxFf "$scratch/kept" |
            sed 's/.*/option no-deref\ndelete &/' | git update-ref --stdin
    else # made anew: references to missing objects cannot be deleted otherwise
        git for-each-ref --format='create %(refname) %(objectname)' > "$scratch/refs"
        rm -rf refs packed-refs
        mkdir -p refs/heads refs/tags
        while read -r line; do
            name=${line#create }
            ! grep -qxF "${name% *}" "$scratch/kept" || printf '%s\n' "$line"
        done < "$scratch/refs" > "$scratch/create"
        git update-ref --stdin < "$scratch/create"
        git pack-refs --all
    fi
    git config --file config --name-only --get-regexp '^(remote|branch|url)\.' 2> /dev/null | sed 's/\.[^.]*$//' |
        sort -u | while read -r section; do git config --file config --remove-section "$section"; done
    # deltas are taken over as they are: the search for better ones is what makes a repack slow
    git -c repack.writeBitmaps=false repack -a -d -q --window=0
    rm -f objects/info/alternates
    rm -rf objects/[0-9a-f][0-9a-f] # whatever is reachable or in the index is in the pack now
    if [ -s shallow ]; then
        grep -xFf "$scratch/reached" shallow > "$scratch/shallow" || true
        cat "$scratch/shallow" > shallow
    fi
}

hide() { # in one git directory
    cd "$1"
    export GIT_DIR="$1"
    git rev-parse -q --verify 'HEAD^{commit}' > /dev/null || return 0
    later > "$scratch/later"
    [ -s "$scratch/later" ] || return 0
    echo cut
    cut_off
    later > "$scratch/later"
    [ ! -s "$scratch/later" ] || { head -n 3 "$scratch/later"; exit 42; }
}

find_git_dir "$1" || exit 40
head=$(GIT_DIR="$git_dir" git rev-parse -q --verify 'HEAD^{commit}') || exit 40
echo "$head"
[ "$2" = hide ] || exit 0
[ "$git_dir" = "$common_dir" ] || exit 41
(hide "$git_dir")
[ ! -d "$git_dir/modules" ] ||
    find "$git_dir/modules" -name HEAD -type f -not -path '*/refs/*' -not -path '*/logs/*' > "$scratch/nested"
find "$top" -mindepth 2 -name .git -type d -prune -exec printf '%s/HEAD\n' {} + 2> /dev/null >> "$scratch/nested" ||
    true
while read -r name; do (hide "${name%/HEAD}"); done < "$scratch/nested"
"""
)
"""Prints HEAD's commit, then `cut` for each git directory (the repository, its submodules) that held something later.

`$1` is the repository; `$2` is `hide`, or `keep` (only print). What HEAD reaches stays: commits, the tags on them, as
they are, the index and the working tree. Everything else goes: later branches, tags, notes, stash, reflogs, linked
worktrees, remotes, what an unfinished merge left, borrowed and unreachable objects. A repository without any of that is
left as it is.
"""


@dataclass(frozen=True)
class PreparedImage:
    """An image to start agents' containers from."""

    image: str
    """Its id or name."""
    base_commit: str
    """The commit that HEAD names."""


@dataclass
class Histories:
    """What is known of images' histories in this process. Thread-safe."""

    clean: dict[str, PreparedImage] = field(default_factory=dict)
    """By key, images that hold nothing later."""
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def lock(self, key: str) -> threading.Lock:
        """The lock under which an image is examined, however many of its cells start at the same time."""
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())


def key_of(image_id: str, folder: str) -> str:
    """What an examination depends on: the image, the repository in it, and the script."""
    return hashlib.sha256("\0".join((image_id, folder, HIDE)).encode()).hexdigest()[:32]
