#!/bin/sh
# mmdebstrap's customize hook: takes what must not be shared out of the root directory $1.
set -eu
root=$1

# mmdebstrap copied this machine's. The host name belongs to the card.
rm -f "$root/etc/hostname"
# systemd-resolved made /etc/resolv.conf a link, and kept the copy if there was one.
rm -f "$root"/etc/.resolv.conf.systemd-resolved.bak
# What setup.sh took from this machine's apt.
rm "$root/etc/apt/apt.conf.d/98bootwright"
# Packages from other suites were for the build: the board gets nothing more from there.
rm "$root/etc/apt/sources.list.d/bootwright-build.list" \
    "$root/etc/apt/preferences.d/bootwright-build"
rm -f "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old

echo "bootwright: Clean up and pack the tarball" >&2
