"""Scripts that run inside an agent's container: its first process, and a command that can be ended for certain."""

from __future__ import annotations

FIRST = r"""
trap '' {1..16} {18..31}
while (( SECONDS < $1 )); do read -r -t 5 _; done
"""
"""The container's first process: lives `$1` seconds, cannot be killed from inside, never forks, reaps what others
leave. An init with a child to wait for would end the container as soon as a command kills that child. Bash reaps
between its reads, of a standard input on which nothing ever comes."""

SWEEP = r"""
sweep() { # kill what carries the tag $1, and what was born at or after tick $2 unless an older process begot it
    local tag=$1 since=$2 pass process pid stat env found begetter
    local -a fields
    local -A parent born
    for pass in {1..100}; do
        found=0 parent=() born=()
        for process in /proc/[0-9]*; do
            IFS= read -r -d '' stat < "$process/stat" || [[ $stat ]] || continue
            fields=(${stat##*) })
            [[ ${fields[0]} == Z ]] && { (( fields[1] == 1 && (found = 1) )); continue; }
            pid=${process#/proc/} parent[$pid]=${fields[1]} born[$pid]=${fields[19]}
        done
        for pid in "${!born[@]}"; do
            (( pid == 1 || pid == $$ )) && continue
            begetter=$pid
            while (( born[$begetter] >= since && parent[$begetter] > 1 )) && [[ ${born[${parent[$begetter]}]-} ]]; do
                begetter=${parent[$begetter]}
            done
            if (( born[$begetter] < since )); then
                env=()
                mapfile -d '' -t env < "/proc/$pid/environ"
                [[ " ${env[*]} " == *" $tag "* ]] || continue
            fi
            kill -9 "$pid" && found=1
        done
        (( found )) || return 0
        echo > /proc/1/fd/0  # the first process reaps when its read returns
    done
    return 1
}
ticks() { local up; read -r up _ < /proc/uptime; REPLY=$(( 10#${up/./} )); }
exec 3>&2 2> /dev/null
"""
"""No forks: a fork bomb leaves room for none. Times are in ticks of 1/100 s, the kernel's USER_HZ everywhere. Standard
error is put aside as descriptor 3: bash would report every child that is killed."""

COMMAND = (
    SWEEP
    + r"""
echo 500 > /proc/self/oom_score_adj  # should memory run out, it is commands that go, not the first process
ticks; start=$REPLY
timeout -s KILL "$1" "${@:4}" 2>&3 3>&-
code=$?
ticks
if (( REPLY - start >= $2 )); then
    sweep "$3" "$start" || code=254
fi
exit $code
"""
)
"""Runs `$4…` for at most `$1` seconds (`$2` ticks); `$3` is the tag in its environment. After that everything that it
has started is killed, wherever it went: 137, or 254 if processes are born faster than they can be killed."""

KILL = (
    SWEEP
    + r"""
ticks
sweep "$1" "$REPLY"
"""
)
"""Kills whatever carries the tag `$1`."""
