#!/bin/sh
# mmdebstrap's setup hook: the empty root directory is $1.
set -eu
root=$1

# Debian's merged /usr from the start, as its installer lays it; turning a split one into
# it later (the package usrmerge) would take long under emulation.
for name in bin lib sbin; do
    mkdir -p "$root/usr/$name"
    ln -s "usr/$name" "$root/$name"
done

# mmdebstrap mounts on these only if they exist by now.
mkdir -p "$root/dev" "$root/proc" "$root/sys"

# Fetch as this machine's own apt does: through its proxy, say. The file goes at the end.
apt-config dump | sed -n -E '/^Acquire::(https?|Check-|ForceIPv|Retries)/p' \
    > "$root/etc/apt/apt.conf.d/98bootwright"
