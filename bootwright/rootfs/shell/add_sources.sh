#!/bin/sh
# A hook of mmdebstrap, run on this machine: adds lines to the sources of packages in the root
# directory $1.
#
# Prints: nothing.
# Variables:
#   text  the lines

printf %s "$text" >>"$1/etc/apt/sources.list"
