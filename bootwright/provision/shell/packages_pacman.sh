#!/bin/sh
# A job: installs packages on Arch Linux ARM, and brings all others up to date: a partial upgrade is
# not supported there.
#
# Sources: pacman(8), pacman.conf(5), pacman-key(8), the layout of pacman's local database
# (lib/libalpm/be_local.c), and the Arch wiki's "System maintenance".
#
# Needs: provision/shell/packages.sh.
# Prints: sections of packages.sh.
# Variables: those of packages.sh.

database=$(pacman-conf DBPath 2>/dev/null)
# Without links, as the kernel names a file that is open.
database=$(realpath "${database:-/var/lib/pacman}")/
# libalpm makes this file when it begins and keeps it open until it ends, in whatever program:
# pacman, packagekitd, pamac-daemon. After an interruption the file stays, and nobody has it open.
locks=${database}db.lck
# It says that a run was interrupted while it filled the keyring or brought it up to date.
keyring_mark=/etc/pacman.d/gnupg.half
half_installed=${begun_file%/*}/half-installed

remove_stale_lock() {
    [ -e "$locks" ] && [ -z "$(holders "$locks")" ] || return 0
    progress "take away the lock of a pacman that was interrupted"
    rm -f "$locks"
}
is_locked() {
    case $message in *"unable to lock database"*) ;; *) return 1 ;; esac
    remove_stale_lock
}
# Before it is filled, the keyring holds only the board's own key.
fill_keyring() {
    if [ -e "$keyring_mark" ] ||
        [ "$(pacman-key --list-keys 2>/dev/null | grep -c '^pub')" -le 1 ]; then
        : >"$keyring_mark"
        try "make the keyring" pacman-key --init
        try "fill the keyring" pacman-key --populate
        rm -f "$keyring_mark"
    fi
}
# Like try; where pacman does not trust a signature, its keyring may be old: the installed keys
# are taken into it, then newer ones are asked for.
try_signed() {
    attempt "$@" && return
    case $message in
    *"unknown trust"* | *"marginal trust"* | *"missing from keyring"* | *"could not be looked up"*) ;;
    # A damaged archive in the cache: pacman has deleted it.
    *"invalid or corrupted package"*) try "$@" && return ;;
    *) give_up ;;
    esac
    attempt "fill the keyring again" pacman-key --populate || :
    attempt "$@" && return
    case $message in
    # An expired key: its owner may have prolonged it.
    *"unknown trust"*) attempt "ask for newer keys" timeout 120 pacman-key --refresh-keys || : ;;
    esac
    try "$@"
}
# Prints the folders of the packages of which pacman's own notes are not complete, because it was
# interrupted while it installed them. It refuses all work then.
incomplete_notes() {
    for folder in "$database"local/*/; do
        # The file "files" is written last, and each list in it ends with an empty line.
        [ -s "${folder}desc" ] && [ -e "${folder}files" ] &&
            [ -z "$(tail -n 1 "${folder}files")" ] && continue
        echo "$folder"
    done
}
# Removes incomplete notes, and records the names of their packages in the file $half_installed,
# for this run and for the next one, should this one be interrupted.
set_aside_half_installed() {
    incomplete_notes | while read -r folder; do
        # Such as local/docker-1:29.0.1-1/.
        name=$(basename "$folder")
        echo "${name%-*-*}" >>"$half_installed"
        sync "$half_installed"
        rm -rf "$folder"
    done
}
# Installs them again. Their files may be there already, and belong to no package.
install_again() {
    [ -e "$half_installed" ] || return 0
    set --
    # shellcheck disable=SC2013  # Names of packages, a word each.
    for name in $(sort -u "$half_installed"); do
        if pacman -Si "$name" >/dev/null 2>&1; then
            set -- "$@" "$name"
        else
            warn "$name was left half installed, and no source has it: install it again yourself"
        fi
    done
    [ "$#" -eq 0 ] || try_signed "install again what was left half installed" \
        pacman -S --noconfirm --overwrite '*' "$@"
    rm -f "$half_installed"
}

check_space
record_rules
remove_stale_lock
fill_keyring
try "fetch the lists of packages" pacman -Sy --noconfirm
mark_begun
set_aside_half_installed
# The keyring first: with an old one, new packages seem to be forged.
keyrings=$(pacman -Qq | grep -e '-keyring$')
if [ -n "$keyrings" ]; then
    # The keys are taken over after the package is installed.
    ! pacman -Quq | grep -qe '-keyring$' || : >"$keyring_mark"
    # Split into words: names of packages.
    # shellcheck disable=SC2086
    try_signed "bring the keyring up to date" pacman -S --noconfirm --needed $keyrings
    rm -f "$keyring_mark"
fi
install_again
eval "set -- $packages"
try_signed "bring everything up to date and install" pacman -Su --noconfirm --needed "$@"
ignored=$(printf '%s\n' "$message" | sed -n 's/^warning: \(.*\): ignoring package upgrade.*/\1/p' |
    paste -s -d ' ')
[ -z "$ignored" ] ||
    warn "pacman.conf keeps these as they are (IgnorePkg, IgnoreGroup), and the rest is newer, \
which Arch Linux does not support: $ignored"
record_end ""
