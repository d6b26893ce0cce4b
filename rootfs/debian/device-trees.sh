#!/bin/sh
# /etc/kernel/postinst.d: lays the device trees of a kernel that was just installed where
# the boot script looks for them. $1 is the kernel's version.
set -eu

mkdir -p /boot/dtbs
while read -r name; do
    # Renamed, so that losing power cannot leave half a file.
    cp "/usr/lib/linux-image-$1/$name" "/boot/dtbs/$name.new"
    mv "/boot/dtbs/$name.new" "/boot/dtbs/$name"
done < /etc/bootwright/device-trees
