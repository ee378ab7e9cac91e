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

LISTEN = 'IFS= read -r -d "" POLYSWE_SCRIPT; eval "$POLYSWE_SCRIPT"'
"""Runs the script that comes on standard input, so that no long program text stands in the list of processes."""

SHELL = (
    "unset POLYSWE_SCRIPT\n"
    + SWEEP
    + r"""
exec 4<&0 < /dev/null
exec 5< "$(type -P cat)"  # as it is now: nothing that commands do to it, or to its like, shall cut off their output

perform() { # in the folder $2, with the tag $4: run $5…; past $3 ticks, kill all it has started, wherever that went
    local _code _start
    echo 500 > /proc/self/oom_score_adj  # should memory run out, it is commands that go, not the first process
    ticks; _start=$REPLY
    if cd -P -- "$2" > /dev/null; then
        unset OLDPWD
        "${@:5}" 2>&1 3>&-
        _code=$?
    else
        echo "cannot change to the folder $2: it is gone"
        _code=126
    fi
    ticks
    if (( REPLY - _start >= $3 )); then
        sweep "$4" "$_start" || exit 254
    fi
    echo "ended $1 $_code" >&3
    exit 0
}

field() { local LC_ALL=C; IFS= read -r -d '' REPLY <&4; }  # by bytes: half a character would swallow the NUL

listen() { # names that no image has in the environment of its commands
    local _count _words _code _ended=0
    while field; do
        _count=$REPLY _words=()
        while (( _count-- > 0 )); do
            field || return
            _words+=("$REPLY")
        done
        # what an earlier command has left was born before this one, by the clock that tells them apart
        while ticks; (( REPLY <= _ended )); do :; done
        echo "begun ${_words[0]}" >&3
        (exec 4<&- 5<&-; perform "${_words[@]}") | (exec -a cat /proc/self/fd/5 3>&- 4<&-)
        _code=${PIPESTATUS[0]}
        printf '%s%d\0' "${_words[0]}" "$_code"
        ticks; _ended=$REPLY
    done
}
listen
"""
)
"""Runs one command after another. A request on standard input is NUL-ended fields: their number, a mark, the folder,
the ticks a command may take, its tag, and the command as words. On standard error come `begun` with the mark, and
`ended` with the mark and the exit code when the command itself has ended, but perhaps not what holds its output open.
On standard output comes what the command prints, then the mark, 0 and a NUL; another number than 0 says how a command
without an exit code came to its end: 254 when processes are born faster than they can be killed or none can be born at
all, 137 when it was killed together with what runs it."""

KILL = (
    SWEEP
    + r"""
ticks
sweep "$1" "$REPLY"
"""
)
"""Kills whatever carries the tag `$1`."""
