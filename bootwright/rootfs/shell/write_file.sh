#!/bin/sh
# A hook of mmdebstrap, run on this machine: writes a file into the root directory $1.
#
# Prints: nothing.
# Variables:
#   path  where the file is, from the root directory on
#   mode  its mode, in octal digits
#   text  its content

printf %s "$text" | install -D -m "$mode" /dev/stdin "$1$path"
