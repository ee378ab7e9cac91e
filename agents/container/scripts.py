"""Scripts that run inside an agent's container, none of them seen or trusted by what a model does there."""

from __future__ import annotations

FIRST_PROCESS = r"""
trap '' {1..16} {18..31}
while (( SECONDS < $1 )); do read -r -t 5 _; done
exit 0
"""
"""The container's first process, for bash: lives `$1` seconds, takes no signal from inside, reaps what others leave.

It never forks. `sleep` would reap nothing, and the remains of a fork bomb would fill the container for good; an init
with a child to wait for would end the container as soon as a command kills that child. Bash reaps between its reads, of
a standard input on which nothing ever comes.
"""

CLEAN_GIT = r"""
for name in $(env | sed -n 's/^\(GIT_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=/nonexistent XDG_CONFIG_HOME=/nonexistent
export GIT_NO_REPLACE_OBJECTS=1 GIT_TERMINAL_PROMPT=0 LC_ALL=C

find_git_dir() { # of the repository that holds the folder $1: top, git_dir, common_dir
    top=$1
    while [ ! -e "$top/.git" ]; do
        [ "$top" != / ] && [ "$top" != . ] || return 1
        top=$(dirname "$top")
    done
    git_dir=$top/.git
    [ ! -f "$git_dir" ] || git_dir=$(cd "$top" && cd "$(sed -n 's/^gitdir: //p' .git)" && pwd)
    git_dir=$(cd "$git_dir" && pwd -P)
    common_dir=$git_dir
    [ ! -f "$git_dir/commondir" ] || common_dir=$(cd "$git_dir" && cd "$(cat commondir)" && pwd -P)
}
"""
"""Beginning of a script that runs git on its own terms: no settings of the environment, a user or the system.

Git is always told where the repository is: were it to look for it, it would refuse one that belongs to another user.
"""

DIFF = (
    CLEAN_GIT
    + r"""
set -e
find_git_dir "$1"
cd "$1"
own=$(mktemp -d)
trap 'rm -rf "$own"' EXIT
mkdir -p "$own/objects/info" "$own/refs" "$own/info"
echo 'ref: refs/heads/none' > "$own/HEAD"
printf '[core]\nrepositoryformatversion = 0\n[diff]\nignoreSubmodules = dirty\n' > "$own/config"
[ ${#2} -ne 64 ] ||
    printf '[core]\nrepositoryformatversion = 1\n[extensions]\nobjectFormat = sha256\n' >> "$own/config"
printf '%s/objects\n' "$common_dir" > "$own/objects/info/alternates"
[ ! -f "$git_dir/index" ] || cp "$git_dir/index" "$own/index" || true
[ ! -f "$common_dir/info/exclude" ] || cp "$common_dir/info/exclude" "$own/info/exclude" || true
export GIT_DIR="$own" GIT_WORK_TREE="$top"
git add -A -- . 2> /dev/null || { rm -f "$own/index"; git read-tree "$2"; git add -A -- .; }
git ls-tree --name-only "$2" -- patch.txt | grep -q . || git update-index --force-remove -- patch.txt
git diff --cached --binary --no-color --no-ext-diff --no-textconv --no-renames --src-prefix=a/ --dst-prefix=b/ "$2" \
    -- . ':(exclude,glob)**/__pycache__/**' ':(exclude,glob)**/.pytest_cache/**'
"""
)
"""Patch of everything since the base commit, new files included.

`$1` is the folder, `$2` the base commit. The model can have written anything into the repository's configuration, hooks
and attributes: a git directory of our own, which only borrows its objects and a copy of its index, runs none of it.
`patch.txt` is where the agent is told to write its submission and no part of the work.
"""

KILL_COMMAND = r"""
leaders=' '
find_groups() { # of the sessions that were started from outside, this one aside
    groups= found=
    for status in /proc/[0-9]*/status; do
        state= parent= group= session=
        while read -r key value rest; do
            case $key in
                State:) state=$value ;;
                PPid:) parent=$value ;;
                NSpgid:) group=$value ;;
                NSsid:) session=$value; break ;;
            esac
        done < "$status"
        case $state in Z | X | '') continue ;; esac
        [ "$session" != $$ ] && [ "$session" != 1 ] || continue
        [ "$parent" != 0 ] || leaders="$leaders$session "
        found="$found $session:$group"
    done
    for pair in $found; do
        case $leaders in *" ${pair%:*} "*) groups="$groups -${pair#*:}" ;; esac
    done
}
exec 2> /dev/null
passes=0
while find_groups; [ -n "$groups" ]; do
    kill -s KILL -- $groups
    [ $((passes += 1)) -lt 100 ] || exit 1
done
"""
"""End what was started from outside and has not ended: a command whose client is gone, with all of its session.

Only the engine can start a process whose parent is outside of the container (0). Nothing is forked: a fork bomb leaves
room for no process. To kill a whole process group is one step for the kernel, which a bomb does not outrun.
"""
