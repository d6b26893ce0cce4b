#!/bin/sh
# Shared functions of the scripts that restart the Docker daemon: containers go on running, and a
# container proves that the daemon works.
#
# Sources: dockerd(8), and moby's daemon/daemon.go for what a daemon does to containers that it
# finds when it starts.
#
# Needs: remote/shell/sections.sh, hosts/shell/root_docker.sh.
# Prints: nothing by itself; the functions print messages for an error.
# Variables:
#   transaction     the folder of the change, with what has to last until it is confirmed:
#     state/running   the containers that ran before it: id, process id, name
#     state/hold      they are to go on running while the daemon is restarted
#   interim         the file in it that is daemon.json as it was, with live-restore switched on
#   daemon_json     where the daemon reads its configuration
#   daemon_seconds  how long the daemon may take to start or stop
#   docker_seconds  how long a docker command may take

umask 077
state=$transaction/state
# A daemon that hangs must not keep the change from being put back.
docker() { timeout "$docker_seconds" docker "$@"; }
log_of_daemon() { journalctl --no-pager -b -o cat -n 12 -u docker.service 2>&1; }
systemctl_docker() {
    timeout "$daemon_seconds" systemctl "$@" docker.service || { log_of_daemon; return 1; }
}
# Prints true or false; fails if the daemon does not answer.
live_restore() { docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null; }
list_running() {
    # A container that is restarted again and again has another process each time: it is not
    # among those that run.
    ids=$(docker ps -q --no-trunc --filter status=running) || return
    # Split into words: ids. If a container has ended meanwhile, inspect fails for a good reason.
    # shellcheck disable=SC2086
    [ -z "$ids" ] || docker inspect --format '{{.Id}} {{.State.Pid}} {{.Name}}' $ids ||
        [ "$(docker ps -q --no-trunc --filter status=running)" != "$ids" ]
}
put() {
    # Copies a file beside its place first, so that it is replaced in one step.
    rm -f "$2.bootwright" && cp -pP "$1" "$2.bootwright" && mv -fT "$2.bootwright" "$2"
}
hold_containers() {
    # A daemon that ends takes its containers along, unless live-restore was on before.
    [ -s "$state/running" ] && [ -e "$state/hold" ] || return 0
    [ "$(live_restore)" = true ] && return 0
    put "$transaction/$interim" "$daemon_json" && systemctl_docker reload || return 1
    count=0
    until [ "$(live_restore)" = true ]; do
        count=$((count + 1))
        [ "$count" -lt 40 ] || { echo "live-restore could not be switched on"; return 1; }
        # Not every sleep knows fractions.
        sleep 0.25 2>/dev/null || sleep 1
    done
}
smoke() {
    # Runs a container of the board's own shell and its libraries: nothing has to be fetched. It
    # prints how it is confined.
    image=bootwright-smoke:$$
    libraries=$(ldd /bin/sh 2>/dev/null | sed -n 's,^[^/]*\(/[^ ]*\) (0x.*,\1,p')
    # Split into words: paths of libraries.
    # shellcheck disable=SC2046
    tar -C / -chf - bin/sh $(for file in $libraries; do echo "${file#/}"; done) |
        docker import - "$image" 2>&1 || return 1
    docker run --rm --pull never "$image" /bin/sh -c '
        while read -r key value rest; do
            case $key in NoNewPrivs: | Seccomp:) echo "$key $value" ;; esac
        done </proc/self/status
        read -r inside outside count </proc/self/uid_map
        echo "uid_map: $inside $outside"' 2>&1
    code=$?
    docker rmi -f "$image" >/dev/null 2>&1
    return "$code"
}
check_survivors() {
    # Fails if a container that ran before does not run any more, or has another process.
    [ -s "$state/running" ] && [ -e "$state/hold" ] || return 0
    list_running >"$state/now" || return
    lost=$(while read -r id pid name; do
        grep -qxF -e "$id $pid $name" "$state/now" && continue
        # Its work may have ended with success meanwhile, or it failed before already.
        state_of=$(docker inspect --format \
            '{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}' "$id" 2>/dev/null)
        case $state_of in "exited 0 "* | "restarting "* | "running "*" "[1-9]*) continue ;; esac
        echo "${name#/}"
    done <"$state/running")
    # Names on one line.
    # shellcheck disable=SC2086
    [ -z "$lost" ] || { echo "did not go on running:" $lost; return 1; }
}
start_containers() {
    lost=
    while read -r id _ name; do
        docker start "$id" >/dev/null 2>&1 || lost="$lost ${name#/}"
    done <"$state/running"
    [ -z "$lost" ] || { echo "did not start again:$lost"; return 1; }
}
disarm() {
    # Who calls it has systemd read its unit files again afterwards.
    systemctl disable --quiet --no-reload bootwright-restore.service 2>/dev/null
    rm -f /etc/systemd/system/bootwright-restore.service
}
