"""Taking away what lies after the base commit: an agent that reads the fix in the repository solves nothing."""

from __future__ import annotations

NO_COMMIT = 40
"""Exit code: there is no repository, or no commit in it."""
LINKED_WORKTREE = 41
"""Exit code: the repository is a linked worktree of another one, whose history is not ours to cut."""

CUT = r"""
set -eu
cd "$1"
mode="$2"
head=$(git rev-parse -q --verify 'HEAD^{commit}') || exit 40
echo "$head"
[ "$mode" != keep ] || exit 0
root=$(cd "$(git rev-parse --git-common-dir)" && pwd)
[ "$root" = "$(cd "$(git rev-parse --git-dir)" && pwd)" ] || exit 41

forget() { # every ref but HEAD's branch, everything that names later commits, every object HEAD does not reach
    cd "$1"
    export GIT_DIR="$1"
    git rev-parse -q --verify 'HEAD^{commit}' > /dev/null || return 0
    later=$(git rev-list --all --reflog --not HEAD 2> /dev/null | head -n 1)
    [ ! -s objects/info/alternates ] || later=alternates
    [ ! -d reftable ] || git reflog expire --expire=now --all
    rm -rf logs worktrees rebase-merge rebase-apply sequencer rr-cache lost-found
    rm -f ORIG_HEAD FETCH_HEAD MERGE_HEAD MERGE_MSG AUTO_MERGE CHERRY_PICK_HEAD REVERT_HEAD REBASE_HEAD BISECT_* \
        gitk.cache info/refs objects/info/packs
    branch=$(git symbolic-ref -q HEAD) || branch=
    git for-each-ref --format='%(refname)' | grep -vxF "$branch" |
        sed 's/.*/option no-deref\ndelete &/' | git update-ref --stdin
    git config --file config --name-only --get-regexp '^(remote|branch|url)\.' 2> /dev/null | sed 's/\.[^.]*$//' |
        sort -u | while read -r section; do git config --file config --remove-section "$section"; done
    if [ -z "$later" ]; then # dangling objects show only in the count: what HEAD and the index reach, or more
        [ "$mode" != known ] || return 0
        counts=$(git count-objects -v)
        loose=$(echo "$counts" | sed -n 's/^count: //p')
        packed=$(echo "$counts" | sed -n 's/^in-pack: //p')
        reached=$(git rev-list --objects --indexed-objects HEAD | wc -l)
        [ $((loose + packed)) -ne "$reached" ] || return 0
    fi
    echo dirty
    rm -f objects/pack/*.keep objects/pack/multi-pack-index* objects/info/commit-graph
    rm -rf objects/info/commit-graphs
    # deltas are taken over as they are: the search for better ones is what makes a repack slow
    git -c repack.writeBitmaps=false repack -a -d -q --window=0
    rm -f objects/info/alternates
    rm -rf objects/[0-9a-f][0-9a-f] # whatever is reachable or in the index is in the pack now
}

if [ -d "$root/modules" ]; then
    find "$root/modules" -name HEAD -type f -not -path '*/refs/*' -not -path '*/logs/*' |
        while read -r name; do (forget "${name%/HEAD}"); done
fi
(forget "$root")
"""
"""Prints HEAD's commit, then `dirty` for each git directory (the repository, its submodules) that had to be repacked.

`$1` is the repository; `$2` is `cut`, or `keep` (only print), or `known`: the image is known to hold no unreachable
objects, so that they need not be counted again. What HEAD reaches, the index and the working tree stay as they are.
"""
