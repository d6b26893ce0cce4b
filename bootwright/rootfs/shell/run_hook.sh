#!/bin/sh
# A hook of mmdebstrap, run on this machine: runs a script that another hook has written into the
# root directory $1. The script gets the root directory as its first argument.
#
# Prints: what the script prints.
# Variables:
#   path       where the script is, from the root directory on
#   arguments  list: further arguments

eval "set -- \"\$1\" $arguments"
exec "$1$path" "$@"
