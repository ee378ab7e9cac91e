"""Scripts that run inside an agent's container: its first process, and a shell whose commands end for certain."""

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
        born[$$]=0  # the shell begets every command, and the ticks of its first one may be its own
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

LISTEN = 'IFS= read -r -d "" script; eval "$script"'
"""Runs the script that comes on standard input, so that no long program text stands in the list of processes."""

SHELL = (
    SWEEP
    + r"""
exec 4<&0 < /dev/null

perform() { # in the folder $1, with the tag $3: run $4…; past $2 ticks, kill all it has started, wherever that went
    local code start
    echo 500 > /proc/self/oom_score_adj  # should memory run out, it is commands that go, not the first process
    ticks; start=$REPLY
    if cd -- "$1" > /dev/null; then
        unset OLDPWD
        "${@:4}" 2>&1 3>&-
        code=$?
    else
        echo "cannot change to the folder $1: it is gone"
        code=126
    fi
    ticks
    if (( REPLY - start >= $2 )); then
        sweep "$3" "$start" || code=254
    fi
    echo "ended $code" >&3
    exit "$code"
}

ended=0
while IFS= read -r -d '' count <&4; do
    words=()
    while (( count-- > 0 )); do
        IFS= read -r -d '' word <&4 || exit
        words+=("$word")
    done
    # what an earlier command has left was born before this one, by the clock that tells them apart
    while ticks; (( REPLY <= ended )); do :; done
    echo begun >&3
    (exec 4<&-; perform "${words[@]:1}") | cat 3>&- 4<&-
    printf '%s%d\0' "${words[0]}" "${PIPESTATUS[0]}"
    ticks; ended=$REPLY
done
"""
)
"""Runs one command after another. A request on standard input is NUL-ended fields: their number, a mark, the folder,
the ticks a command may take, its tag, and the command as words. What the command prints comes on standard output, then
the mark, the exit code and a NUL; on standard error come `begun`, and `ended` with the code when the command itself has
ended, but perhaps not what holds its output open. 254 is the code when processes are born faster than they can be
killed, or no process can be born at all."""

KILL = (
    SWEEP
    + r"""
ticks
sweep "$1" "$REPLY"
"""
)
"""Kills whatever carries the tag `$1`."""
