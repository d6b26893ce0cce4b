#!/bin/sh
# Starts a job: unpacks the archive (tar) on standard input into a folder of its own, and runs
# the file job_run.sh in it, in a unit of systemd. That unit is independent of the SSH session:
# neither its end nor a restart of sshd ends the job.
#
# Needs: remote/shell/sections.sh, for PATH.
# Prints: nothing. Ends with 1 and a message on standard error if a job is running on this board
# already, of whatever name: an upgrade of packages and a change would meet at the Docker daemon.
# Variables:
#   jobs  the folder that has a folder for each job, such as /run/bootwright
#   name  the job's name, which is also its folder's

umask 077
folder=$jobs/$name
mkdir -p "$jobs" || exit
# Two that start at the same moment: only one gets the lock.
exec 9>"$jobs/lock"
flock -n 9 || { echo "another inv provision begins on this board; wait for it" >&2; exit 1; }
for other in "$jobs"/*/; do
    pid=
    [ -r "$other/pid" ] && [ ! -e "$other/status" ] && read -r pid <"$other/pid"
    if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then
        echo "$(basename "$other") is under way on this board already; wait for it to end" >&2
        exit 1
    fi
done
rm -rf "$folder"
mkdir "$folder" && tar -xpmf - -C "$folder" || exit
# The job must not inherit the lock.
if [ -d /run/systemd/system ]; then
    systemd-run --quiet --collect --unit="bootwright-$name" \
        sh "$folder/job_run.sh" "$folder" 9>&- || exit
else
    setsid sh "$folder/job_run.sh" "$folder" >/dev/null 2>&1 </dev/null 9>&- &
fi
