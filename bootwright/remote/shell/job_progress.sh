#!/bin/sh
# Shared function of the scripts that run as a job: `progress TEXT` records what the job does
# now, for bootwright/remote/shell/job_follow.sh to report.
#
# Prints: nothing; writes the file `progress` in the job's folder, which is the current one.
# Variables: none.

progress() { printf '%s\n' "$*" >progress; }
