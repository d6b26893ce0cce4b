#!/bin/sh
# A job: installs packages on Arch Linux ARM, and brings all others up to date: a partial upgrade is
# not supported there.
#
# Sources: pacman(8), pacman-key(8), and the Arch wiki's "System maintenance".
#
# Needs: provision/shell/packages.sh.
# Prints: a section of packages.sh.
# Variables: those of packages.sh.

remove_stale_lock() {
    lock=/var/lib/pacman/db.lck
    [ -e "$lock" ] || return 0
    message="pacman is at work on the board; wait for it to end"
    for file in /proc/[0-9]*/comm; do
        read -r name <"$file" 2>/dev/null && [ "$name" = pacman ] && stop "look for other work"
    done
    progress "take away the lock of a pacman that was interrupted"
    rm -f "$lock"
}
# Before it is filled, the keyring holds only the board's own key. The mark says that a run was
# interrupted while it filled the keyring.
fill_keyring() {
    mark=/etc/pacman.d/gnupg.half
    if [ -e "$mark" ] || [ "$(pacman-key --list-keys 2>/dev/null | grep -c '^pub')" -le 1 ]; then
        : >"$mark"
        try "make the keyring" pacman-key --init
        try "fill the keyring" pacman-key --populate
        rm -f "$mark"
    fi
}

check_space
remove_stale_lock
fill_keyring
try "fetch the lists of packages" pacman -Sy --noconfirm
# The keyring first: with an old one, new packages seem to be forged.
keyrings=$(pacman -Qq | grep -e '-keyring$')
# Split into words: names of packages.
# shellcheck disable=SC2086
[ -z "$keyrings" ] || try "bring the keyring up to date" pacman -S --noconfirm --needed $keyrings
eval "set -- $packages"
try "bring everything up to date and install" pacman -Su --noconfirm --needed "$@"
record_upgrade ""
