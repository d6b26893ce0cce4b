#!/bin/sh
# Shared functions: how a script reports, in named sections. `section NAME` begins one;
# `... | quoted` fills it and puts a `|` before each line, so that no content can be taken for
# the beginning of a section. A script ends with `section end`: without it, its output was cut
# short. The parser is bootwright/remote/sections.py.
#
# Prints: nothing by itself. Messages of all programs are in English from here on, and the tools
# of the system administrator are found.
# Variables: none.

PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
export PATH LC_ALL
section() { printf '\n== %s\n' "$1"; }
quoted() { sed 's/^/|/'; }
