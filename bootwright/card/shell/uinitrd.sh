#!/bin/sh
# Makes the initial RAM disk into the file that the vendor's U-Boot loads: the same bytes behind
# a header of 64 bytes, which "mkimage -A arm -O linux -T ramdisk -C none -n bootwright" writes
# too (U-Boot: include/image.h). U-Boot 2012.07 passes an empty RAM disk to the kernel if the
# header is missing.
#
# It is installed on the board, where it runs after an initial RAM disk was made and after a
# kernel was removed. It needs gzip, and od, tail and wc of coreutils. The arguments that the
# callers give are not used: the links of the distribution say which RAM disk is booted.
#
# Prints: nothing.
# Variables:
#   initrd  path of the initial RAM disk that is booted, or a link to it
#   image   path of the file to write

set -eu

# Print the CRC-32 of standard input as 8 hexadecimal digits: gzip appends it, lowest byte first.
crc32() {
    gzip -c -1 | tail -c 8 | od -A n -t x1 -N 4 | {
        read -r byte0 byte1 byte2 byte3
        echo "$byte3$byte2$byte1$byte0"
    }
}

# Print the bytes whose hexadecimal digits are $1.
bytes() {
    digits=$1
    while [ -n "$digits" ]; do
        rest=${digits#??}
        printf %b "\\0$(printf %03o "0x${digits%"$rest"}")"
        digits=$rest
    done
}

# Print the header, in which its own checksum is $1. Its fields: magic number, checksum, time (0),
# length, load address and entry point (0), checksum of the content; Linux, ARM, RAM disk, not
# compressed; the name "bootwright" in 32 bytes.
header() {
    bytes "27051956$1"
    bytes "00000000$length"
    bytes "0000000000000000$content"
    bytes 05020300
    printf %s bootwright
    bytes 00000000000000000000000000000000000000000000
}

# There is none while a kernel is being replaced.
if [ -s "$initrd" ]; then
    length=$(printf %08x "$(wc -c <"$initrd")")
    content=$(crc32 <"$initrd")
    # Renamed when it is complete, so that losing power cannot leave half a file.
    {
        header "$(header 00000000 | crc32)"
        cat "$initrd"
    } >"$image.new"
    sync "$image.new"
    mv "$image.new" "$image"
fi
