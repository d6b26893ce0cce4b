#!/bin/sh
# Runs a job, the file `job` in the folder $1, and records how it goes in that folder: its
# process id in `pid`, its output in `log`, its exit status in `status` when it has ended. As long
# as it runs, `running` is locked.
#
# Prints: nothing.
# Variables: none; the argument is the job's folder.

cd "$1" || exit
echo $$ >pid
exec 9>running
flock 9
sh job >log 2>&1 </dev/null 9>&-
echo $? >status.new
# Renamed, so that a status that can be read is complete.
mv status.new status
