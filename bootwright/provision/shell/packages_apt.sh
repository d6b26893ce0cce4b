#!/bin/sh
# A job: installs packages on Debian, and brings all others up to date if asked to.
#
# Sources: apt-get(8), apt.conf(5), dpkg(1).
#
# Needs: provision/shell/packages.sh.
# Prints: a section of packages.sh.
# Variables, beside those of packages.sh:
#   optional  list: packages to install if the distribution has them
#   upgrade   yes: bring all packages up to date

export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
apt() {
    apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef \
        -o Dpkg::Options::=--force-confold "$@"
}
# Fetches the lists of packages; sets $missing to the names of those that could not be fetched.
fetch_lists() {
    progress "fetch the lists of packages"
    missing=
    rounds=0 waits=0
    until message=$(apt update --error-on=any 2>&1 </dev/null); do
        case $message in
        *"ould not get lock"*)
            # The system's own timer fetches them. DPkg::Lock::Timeout is not for this lock.
            waits=$((waits + 1))
            [ "$waits" -lt 60 ] && sleep 5 && continue
            ;;
        esac
        rounds=$((rounds + 1))
        if [ "$rounds" -eq 3 ]; then
            # One list that cannot be fetched, such as of a mirror that is just being updated, is
            # no reason to do without the others; it is reported. If there is none at all, it is.
            missing=$(printf '%s\n' "$message" |
                sed -n 's,^E: Failed to fetch [^ ]*/dists/\([^ /]*\)/.*,\1,p' | sort -u)
            if [ -z "$missing" ] || ! printf '%s\n' "$message" | grep -q '^\(Hit\|Get\):'; then
                message=$(printf '%s\n' "$message" | tail -n 15)
                stop "fetch the lists of packages"
            fi
            break
        fi
        sleep "$rounds"
    done
}

check_space
# What an interrupted run has left.
try "finish what was left half done" dpkg --force-confdef --force-confold --configure -a
fetch_lists
# New packages may be installed, such as a kernel; none is ever removed.
[ -z "$upgrade" ] || try "bring everything up to date" apt --with-new-pkgs upgrade
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
try "install" apt --no-remove --no-install-recommends install "$@"
record_upgrade "$missing"
