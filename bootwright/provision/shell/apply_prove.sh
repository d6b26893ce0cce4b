#!/bin/sh
# Applies a change, last part: proves that the daemon runs containers as it should.
#
# Needs: provision/shell/apply.sh.
# Prints the sections step and failed of apply.sh, and these:
#   smoke     what a container printed
#   versions  of the docker command and of the engine, each on a line
#   applied   comes last, if nothing failed
# Variables, beside those of apply.sh:
#   proof  a list of patterns for grep; the container has to print a line that matches each

begin_step smoke
message=$(smoke) || fail smoke
section smoke
printf '%s\n' "$message" | quoted
eval "set -- $proof"
for pattern; do
    printf '%s\n' "$message" | grep -q -e "$pattern" || {
        message="a container printed no line that matches $pattern: $message"
        fail smoke
    }
done
section versions
docker version --format '{{.Client.Version}}
{{.Server.Version}}' 2>/dev/null | quoted
section applied
