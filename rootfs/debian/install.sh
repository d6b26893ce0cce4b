#!/bin/sh
# mmdebstrap's extract hook: installs Debian into the root directory $1, then the packages
# named after it.
#
# Reading a package's archive under emulation costs many times what it costs natively, so
# this machine's dpkg unpacks; only maintainer scripts run emulated, in the root directory.
set -euf
root=$1
shift
archives=$root/var/cache/apt/archives
filters=$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap

# Maintainer scripts get /bin/true for these tools. On a first installation
# dpkg-maintscript-helper has nothing to do, some 100 times. What the two update-… would
# have done several times is done once, after the last package. SSH host keys are not made
# at all: they belong to one board and come with its card.
# Below /run, which mmdebstrap empties at its end, and where only root can make files on
# this machine: its dpkg is given this path too.
stubs=/run/bootwright/stubs
mkdir -p "$root$stubs"
for tool in dpkg-maintscript-helper ssh-keygen update-ca-certificates update-initramfs; do
    ln -s /bin/true "$root$stubs/$tool"
done

step() {
    echo "bootwright: $*" >&2
}

download() {
    APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --yes --download-only \
        -o APT::Keep-Downloaded-Packages=true install "$@"
}

# --path-include first: it undoes what this machine's own dpkg.cfg may exclude.
unpack() {
    # shellcheck disable=SC2046  # One word for each line; globbing is off.
    PATH=$stubs:$PATH dpkg --root="$root" --log="$root/var/log/dpkg.log" --force-architecture \
        --force-depends --force-unsafe-io --path-include='*' \
        $(sed 's/^/--/' "$filters") --unpack --recursive "$archives"
    find "$archives" -name '*.deb' -delete
}

configure() {
    chroot "$root" env PATH="$stubs:/usr/sbin:/usr/bin:/sbin:/bin" \
        dpkg --force-unsafe-io --configure -a
}

step "Unpack Debian's essential packages"
download '?essential' usr-is-merged
# The scripts that dpkg runs before unpacking need a shell, and dpkg cannot be told to
# unpack without them: lay the files once without dpkg. /proc and /sys are mounted.
find "$archives" -name '*.deb' | while read -r deb; do
    # shellcheck disable=SC2046
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --keep-directory-symlink \
        --exclude=./proc --exclude=./sys $(sed -n 's/^path-exclude=/--exclude=./p' "$filters")
done
unpack
step "Configure Debian's essential packages under emulation"
configure

step "Download the other packages"
download '?priority(required)' apt "$@"
step "Unpack the other packages"
unpack
step "Configure the other packages under emulation"
# Without this folder the script of ca-certificates takes the list that it carries, which
# is the same, and does not look up each of 142 names with grep: 13 s.
mv "$root/usr/share/ca-certificates" "$root/run/bootwright/"
configure
mv "$root/run/bootwright/ca-certificates" "$root/usr/share/"

step "Collect the certificate authorities"
# Certificates are the same on every architecture, so this runs natively; the links that
# it lays must not name the directory where the root file system is being built.
sh "$root/usr/sbin/update-ca-certificates" --fresh \
    --certsconf "$root/etc/ca-certificates.conf" \
    --certsdir "$root/usr/share/ca-certificates" \
    --localcertsdir "$root/usr/local/share/ca-certificates" \
    --etccertsdir "$root/etc/ssl/certs" --hooksdir ''
find "$root/etc/ssl/certs" -type l -lname "$root/*" | while read -r link; do
    target=$(readlink "$link")
    ln -sfn "${target#"$root"}" "$link"
done

step "Make the initial RAM disk under emulation"
chroot "$root" update-initramfs -c -k all
