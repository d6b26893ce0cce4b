#!/bin/sh
# Changes which passphrases open the volume. Standard input has two lines: the existing
# passphrase, and the other one (to add, to change to, or to remove).
#
# Passphrases go to cryptsetup through pipes alone, written by the shell's own printf, so that no
# process has one as an argument or in its environment. A slot is removed only after another
# passphrase was proven to open another slot.
#
# Needs: remote/shell/sections.sh, and root.
# Prints these sections, then the end:
#   there    the slot of the new passphrase, which was there already
#   added    the slot that was added
#   removed  a slot that was removed; one section each
#   header   the UUID of the LUKS header, and the header as JSON, after the change
#   error    the step that failed, an exit status, a message; nothing but the end comes after it
# Variables:
#   action       add, change or remove
#   device       the device with the LUKS header
#   kdf_options  list: options of cryptsetup for a new slot's key derivation
#   step_seconds       seconds that one call of cryptsetup may take

# A variable that came from the environment, or that is made under allexport, would be in the
# environment of every program called; what is traced would be written to standard error.
set +a +x
unset existing other new keep gone message
umask 077
fail() {
    section error
    printf '%s\n' "$1" "$status" "$message" | quoted
    section end
    exit 0
}
luks() { timeout "$step_seconds" cryptsetup "$@"; }
# Sets $status to 0 and $slot to the slot that the passphrase $1 opens, or $status to 2.
probe() {
    message=$(printf %s "$1" |
        luks open --test-passphrase --verbose --type luks2 --key-file=- "$device" 2>&1)
    status=$?
    slot=$(printf '%s\n' "$message" |
        sed -n 's/^Key slot \([0-9][0-9]*\) unlocked.*/\1/p' | head -n 1)
    [ "$status" -eq 0 ] || [ "$status" -eq 2 ] || fail probe
}
report_slot() { section "$1"; printf '%s\n' "$slot" | quoted; }
add() {
    eval "set -- $kdf_options"
    message=$(printf %s "$new" | {
        exec 4<&0
        printf %s "$existing" |
            luks luksAddKey --batch-mode --key-file=- "$@" "$device" /dev/fd/4 2>&1
    })
    status=$?
    [ "$status" -eq 0 ] || fail add
    probe "$new"
    [ "$status" -eq 0 ] || fail prove
    report_slot added
}
# Adds $new unless the probe before has found it.
ensure_new() { if [ "$status" -eq 0 ]; then report_slot there; else add; fi; kept=$slot; }
# Removes each slot that $gone opens; $keep opens the slot $kept, which stays.
remove() {
    while probe "$gone"; [ "$status" -eq 0 ]; do
        [ "$slot" != "$kept" ] || fail same-slot
        message=$(printf %s "$keep" |
            luks luksKillSlot --batch-mode --key-file=- "$device" "$slot" 2>&1)
        status=$?
        [ "$status" -eq 0 ] || fail remove
        removed=$slot
        report_slot removed
    done
}

status='' message=
# A printf that is a program would show passphrases in its arguments.
case $(command -v printf) in /*) fail printf ;; esac
exec 9>/run/bootwright-keyslots.lock || fail lock
flock -n 9 || fail lock
IFS= read -r existing && IFS= read -r other || fail input
probe "$existing"
case $action in
add)
    new=$other
    [ "$status" -eq 0 ] || fail wrong-existing
    probe "$new"
    ensure_new
    ;;
change)
    new=$other keep=$other gone=$existing
    if [ "$status" -eq 0 ]; then
        probe "$new"
        ensure_new
        remove
    else
        # A second run, after the first one has removed the old passphrase.
        probe "$new"
        [ "$status" -eq 0 ] || fail wrong-existing
        report_slot there
    fi
    ;;
remove)
    keep=$existing gone=$other
    [ "$status" -eq 0 ] || fail wrong-existing
    kept=$slot removed=
    remove
    [ -n "$removed" ] || fail wrong-other
    ;;
esac
section header
{ cryptsetup luksUUID "$device" && cryptsetup luksDump --dump-json-metadata "$device"; } | quoted
section end
