#!/bin/sh
# Waits a few seconds for the end of a job, or until it records another progress, and reports
# its state.
#
# Needs: remote/shell/sections.sh.
# Prints one of these sections, then the end:
#   status   the job has ended: its exit status; after it what the job itself printed
#   running  it runs: what it does now, by its own words
#   gone     there is no such job, or it was killed
# Variables:
#   jobs       the folder that has a folder for each job
#   name       the job's name
#   known      the progress that is known already: it is not waited for
#   seconds    how long to wait
#   log_bytes  how much of what the job printed is reported at most: the last bytes of it

folder=$jobs/$name
report() { section "$1"; printf '%s\n' "$2" | quoted; }
count=0
progress=$known
while [ ! -e "$folder/status" ] && [ "$count" -lt "$seconds" ] && [ "$progress" = "$known" ]; do
    count=$((count + 1))
    [ -r "$folder/progress" ] && IFS= read -r progress <"$folder/progress"
    # The file is locked while the job runs: this waits a second, or until the job has ended.
    flock -w 1 "$folder/running" true 2>/dev/null && break
done
# The process is checked before the status: a job that ends in between has written its status.
alive=
if [ -s "$folder/pid" ]; then
    read -r pid <"$folder/pid"
    kill -0 "$pid" 2>/dev/null && alive=yes
elif [ -d "$folder" ]; then
    # It is just being started.
    alive=yes progress=
fi
if [ -e "$folder/status" ]; then
    read -r status <"$folder/status"
    report status "$status"
    # Its last lines say how it ended; all of it may be more than a connection carries.
    tail -c "$log_bytes" "$folder/log"
elif [ -n "$alive" ]; then
    report running "$(printf %.200s "$progress")"
else
    report gone ""
fi
section end
