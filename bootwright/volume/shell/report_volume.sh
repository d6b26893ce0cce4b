#!/bin/sh
# Reports the state of the board's encrypted volume.
#
# Needs: volume/shell/volume_facts.sh.
# Prints: the sections of report_volume, then the end.
# Variables: none of its own.

report_volume
section end
