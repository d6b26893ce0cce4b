#!/bin/sh
# Starts what lies on a volume that is open already.
#
# Needs: volume/shell/start_units.sh.
# Prints: the sections of start_units_and_report, then the end.
# Variables: none of its own.

start_units_and_report
section end
