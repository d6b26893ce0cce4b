#!/bin/sh
# Records that the Docker daemon that runs now was proven to do what daemon.json says, so that the
# next report of facts need not ask it. The record is void when another process is the daemon, or
# daemon.json is newer.
#
# Prints: nothing.
# Variables:
#   pid_file     the file with the process id of the daemon
#   proven_file  the record
#   versions     the versions of the docker command and of the engine
#   warnings     list: what the engine warns of, a line each

pid=
# Its status does not count: the daemon writes the file without an end of line, which read calls
# a failure.
read -r pid <"$pid_file"
eval "set -- $warnings"
[ -z "$pid" ] || printf '%s\n' "$pid $versions" "$@" >"$proven_file"
