#!/bin/sh
# A job: installs packages on Debian, and brings all others up to date if asked to.
#
# Sources: apt-get(8), apt-cache(8), apt.conf(5), apt_preferences(5), dpkg(1).
#
# Needs: provision/shell/packages.sh.
# Prints: sections of packages.sh.
# Variables, beside those of packages.sh:
#   optional  list: packages to install if the distribution has them
#   upgrade   yes: bring all packages up to date

export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
# Of dpkg and its front ends, of the lists of packages, and of fetched packages.
locks="/var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock
/var/cache/apt/archives/lock"
missing=
own=

is_locked() {
    case $message in
    *"ould not get lock"* | *"locked by another process"*) return 0 ;;
    esac
    return 1
}
apt() {
    apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}
# Prints the sources that $message says could not be fetched, a line each: "ADDRESS SUITE". A
# password in an address is left out.
failed_sources() {
    printf '%s\n' "$message" | sed -En -e 's/^W: .*GPG error: /E: /' \
        -e 's/^W: Failed to fetch /E: /' -e 's,//[^/@ ]*@,//,' -e '/^E: /p' | sed -En \
        -e "s,^.*'([a-z+-]+:.*[^/ ])/* ([^ /]*)[^ ]* (In)?Release'.*,\1 \2,p;t" \
        -e 's,^.* ([a-z+-]+:[^ ]*[^ /])/+dists/([^ /]*)/.*,\1 \2,p;t' \
        -e 's,^.* ([a-z+-]+:[^ ]*[^/ ])/* ([^ /]*)[^ ]* (In)?Release: .*,\1 \2,p;t' \
        -e 's,^E: Failed to fetch ([a-z+-]+:[^ ]*)/[^ /]+ .*,\1,p' | sort -u
}
# Prints the sources of the distribution itself, a line each. Their lists have the package that
# says which distribution this is.
own_sources() {
    apt-cache madison base-files 2>/dev/null |
        awk -F ' *[|] *' '{ split($3, word, " "); sub("/*$", "", word[1])
            sub("/.*", "", word[2]); print word[1], word[2] }' | sort -u
}
# Fetches the lists of packages; sets $missing to the sources of which they could not be fetched,
# and $own to those of the distribution.
fetch_lists() {
    rounds=0
    until attempt "fetch the lists of packages" apt update --error-on=any; do
        case $message in
        # Written halfway when the board lost its power.
        *"could not be parsed or opened"*) rm -rf /var/lib/apt/lists/* ;;
        esac
        rounds=$((rounds + 1))
        # A mirror that is being updated needs minutes: another one may answer the second time.
        case $message in *"Mirror sync in progress"*) most_rounds=2 ;; *) most_rounds=3 ;; esac
        if [ "$rounds" -ge "$most_rounds" ]; then
            # A source that cannot be fetched, such as a mirror that is just being updated, or one
            # that somebody has added and that is gone, is no reason to do without the others.
            missing=$(failed_sources)
            own=$(own_sources)
            if [ -z "$missing" ] || [ -z "$own" ] ||
                ! printf '%s\n' "$own" | grep -qvxF -e "$missing" ||
                ! printf '%s\n' "$message" | grep -q '^\(Hit\|Get\):'; then
                give_up
            fi
            break
        fi
        sleep "$rounds"
    done
}
# Removes the lists, fetched earlier, of sources that could not be fetched now: the packages in
# them may not be there any more.
set_aside_missing() {
    printf '%s\n' "$missing" | grep -vxF -e "$own" | while read -r address suite; do
        # shellcheck disable=SC2016  # Names of apt.
        apt-get indextargets --format '$(FILENAME) $(REPO_URI) $(RELEASE)' |
            while read -r list from release; do
                [ "${from%/}" = "${address%/}" ] || continue
                [ -z "$suite" ] ||
                    case $release in "$suite" | "$suite"/*) ;; *) continue ;; esac
                rm -f "$list" "$list".*
            done
    done
}
# Prints the names of packages of which "WANTED STATE FLAG" is as the regular expression $1 says.
in_state() {
    # shellcheck disable=SC2016  # Names of dpkg.
    dpkg-query -W -f '${db:Status-Want} ${db:Status-Status} ${db:Status-Eflag} ${binary:Package}\n' |
        sed -n "s/^$1 //p"
}
half_unpacked() { in_state '[a-z]* [a-z-]* reinstreq'; }
half_removed() { in_state '\(deinstall\|purge\) half-installed ok'; }
# Fetches and unpacks the packages "$@" once more, as far as they are to be had.
unpack_again() {
    folder=${begun_file%/*}/unpack-again
    rm -rf "$folder"
    mkdir -p "$folder"
    for name; do
        attempt "fetch $name, which was left half unpacked" fetch_into "$folder" "$name" || :
    done
    attempt "unpack what was left half unpacked" dpkg --unpack --recursive "$folder" || :
    rm -rf "$folder"
}
fetch_into() ( cd "$1" && apt download "$2" )
# Finishes what was interrupted, whoever had begun it. dpkg cannot configure a package whose
# dependencies are not there: apt installs them. Neither of them can do that if the files of a
# dependency are there by half: that one is unpacked again first.
mend() {
    case $message in
    # A fetched package is damaged, as after a loss of power.
    *dpkg-deb*) apt clean ;;
    esac
    [ -z "$missing" ] || set_aside_missing
    # Split into words: names of packages.
    # shellcheck disable=SC2046
    set -- $(half_unpacked)
    [ "$#" -eq 0 ] || unpack_again "$@"
    # A removal that somebody else had begun; apt, too, would finish it, but is to remove nothing.
    # shellcheck disable=SC2046
    set -- $(half_removed)
    [ "$#" -eq 0 ] || attempt "finish what was left half removed" dpkg --remove "$@"
    attempt "finish what was left half done" \
        dpkg --force-confdef --force-confold --configure -a || :
    try "install what was left without its dependencies" apt --fix-broken --no-remove install
}
# Like try; a command that fails is tried a second time after what was interrupted is finished.
try_twice() {
    attempt "$@" && return
    mend
    try "$@"
}

check_space
record_rules
attempt "finish what was left half done" dpkg --force-confdef --force-confold --configure -a || :
fetch_lists
mark_begun
# apt takes a package whose files are there by half for installed.
[ -z "$(half_unpacked)$(half_removed)" ] || mend
if [ -n "$upgrade" ]; then
    # New packages may be installed, such as a kernel; none is ever removed.
    try_twice "bring everything up to date" apt --with-new-pkgs upgrade
    held=$(apt-mark showhold | paste -s -d ' ')
    [ -z "$held" ] || warn "these packages are on hold, and stay as they are: $held"
fi
eval "set -- $optional"
for name; do
    shift
    apt-cache show --no-all-versions "$name" >/dev/null 2>&1 && set -- "$@" "$name"
done
eval "set -- $packages \"\$@\""
# syslog-ng runs as a service of our own; the package's one would also write all logs to the root
# file system, which is not encrypted. It is masked before it is installed and started.
for name; do
    [ "$name" = syslog-ng-core ] && [ ! -e /lib/systemd/system/syslog-ng.service ] &&
        ln -sf /dev/null /etc/systemd/system/syslog-ng.service
done
try_twice "install" apt --no-remove --no-install-recommends install "$@"
record_end "$missing"
