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

OWN_GIT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "GIT_CONFIG_COUNT": "3",
    "GIT_CONFIG_KEY_0": "safe.directory",  # the repository may belong to another user than the one who runs git
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "core.fsmonitor",
    "GIT_CONFIG_VALUE_1": "false",
    "GIT_CONFIG_KEY_2": "core.hooksPath",
    "GIT_CONFIG_VALUE_2": "/dev/null",
}
"""Environment of our own git commands: no settings of a user or the system, no hooks, no monitor."""

DIFF = r"""
set -e
cd "$1"
index=$(mktemp -u)
cp "$(git rev-parse --git-path index)" "$index" 2>/dev/null || true
export GIT_INDEX_FILE="$index"
git add -A -- . 2>/dev/null || { rm -f "$index"; git read-tree "$2"; git add -A -- .; }
git ls-tree --name-only "$2" -- patch.txt | grep -q . || git rm -q --cached --ignore-unmatch -- patch.txt
git diff --cached --binary --no-color --no-ext-diff --no-textconv --no-renames --src-prefix=a/ --dst-prefix=b/ "$2" \
    -- . ':(exclude,glob)**/__pycache__/**' ':(exclude,glob)**/.pytest_cache/**'
"""
"""Patch of everything since the base commit, new files included.

`$1` is the repository, `$2` the base commit. `patch.txt` is where the agent is told to write its submission and no part
of the work.
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
