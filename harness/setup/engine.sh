#!/usr/bin/env bash
# Make sure a Docker Engine answers. As root on a Debian-like system it is installed and started;
# anywhere else one message says what to do. Safe to call again: it does nothing where an engine answers.
set -euo pipefail

answers() { command -v docker >/dev/null 2>&1 && timeout 20 docker info --format '{{.ServerVersion}}' >/dev/null 2>&1; }
stop_with() { printf 'polyswe: %s\n' "$1" >&2; exit 3; }

if answers; then exit 0; fi

mend="Start Docker (Linux: 'sudo systemctl start docker'; macOS/Windows: Docker Desktop), make sure 'docker info' answers for this user, and run the command again."
if [ -n "${DOCKER_HOST:-}" ]; then
    stop_with "no Docker Engine answers at DOCKER_HOST=$DOCKER_HOST. $mend"
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    stop_with "no Docker Engine answers, and it is installed automatically only as root on a Debian-like system. $mend"
fi

if ! command -v dockerd >/dev/null 2>&1 || ! command -v docker >/dev/null 2>&1; then
    echo "polyswe: installing Docker Engine (apt: docker.io) …" >&2
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update && apt-get install -y --no-install-recommends docker.io iptables tini; } >"$log" 2>&1; then
        tail -5 "$log" >&2
        stop_with "'apt-get install docker.io' failed (log: $log). Install Docker Engine by hand and run the command again."
    fi
fi

if ! answers; then
    echo "polyswe: starting Docker Engine …" >&2
    if command -v systemctl >/dev/null 2>&1 && systemctl is-system-running >/dev/null 2>&1; then
        systemctl start docker || true
    else
        # no init system (a container, a small VM): a daemon of its own session outlives this script
        rm -f /var/run/docker.pid
        setsid nohup dockerd >/var/log/polyswe-dockerd.log 2>&1 </dev/null &
    fi
    for _ in $(seq 60); do
        if answers; then exit 0; fi
        sleep 1
    done
    stop_with "Docker Engine was started but does not answer after 60 s (see /var/log/polyswe-dockerd.log or 'journalctl -u docker')."
fi
