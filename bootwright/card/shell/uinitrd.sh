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
# Prints: nothing, or on standard error why the file is not written; the exit status is not 0 then.
# Variables:
#   initrd   path of the initial RAM disk that is booted, or a link to it
#   image    path of the file to write
#   maximum  bytes of the largest initial RAM disk that U-Boot has room for

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

# Remove the unfinished file, print an error with the reason $1, and exit.
give_up() {
    trap - EXIT
    rm -f "$image.new"
    echo "bootwright: $image is not written: $1." >&2
    echo "bootwright: This board would not start with the new kernel. Correct this and run $0" \
        "before you restart the board." >&2
    exit 1
}

# There is none while a kernel is being replaced.
if [ -s "$initrd" ]; then
    size=$(wc -c <"$initrd")
    if [ "$size" -gt "$maximum" ]; then
        give_up "$initrd has $size bytes, and U-Boot has room for $maximum (fewer modules?)"
    fi
    trap 'give_up "writing it failed (is the disk full?)"' EXIT
    trap 'exit 1' HUP INT TERM
    length=$(printf %08x "$size")
    content=$(crc32 <"$initrd")
    # Renamed when it is complete, so that losing power cannot leave half a file.
    {
        header "$(header 00000000 | crc32)"
        cat "$initrd"
    } >"$image.new"
    sync "$image.new"
    mv "$image.new" "$image"
    trap - EXIT
fi
