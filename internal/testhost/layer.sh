#!/bin/bash
# layer.sh NAME DIR: print the path of an archive that holds the Debian packages of section [NAME] of packages.txt,
# building it below DIR where it is not there yet. The packages are installed into an overlay of this machine's root
# file system in a mount namespace of its own: nothing is installed on the machine, and nothing stays mounted.
# Needs root and a reachable Debian mirror.
set -euo pipefail

die() { echo "layer: $*" >&2; exit 1; }

# install: in a mount and process namespace of its own. Only the upper directory is kept, without apt's lists and
# caches, and with the attributes by which overlayfs knows deleted and replaced directories.
install_into() {
  local archive=$1 mnt=$2 root=$2/root
  shift 2
  mount --make-rprivate /
  mount -t tmpfs -o mode=755 tmpfs "$mnt" # its own file system: overlayfs refuses layers that contain each other
  mkdir "$mnt/up" "$mnt/work" "$root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$mnt/up,workdir=$mnt/work,redirect_dir=off,metacopy=off" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  cp --remove-destination --dereference /etc/resolv.conf "$root/etc/resolv.conf"
  hostname layer.example.test # packages that ask for the host's full name when they are configured get this one
  echo "127.0.0.1 layer.example.test localhost" >"$root/etc/hosts"
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no service starts while it is installed
  chmod 755 "$root/usr/sbin/policy-rc.d"
  chroot "$root" env DEBIAN_FRONTEND=noninteractive sh -ec \
    'apt-get update -qq; apt-get install -y -qq --no-install-recommends "$@"' sh "$@" >"$mnt/log" 2>&1 </dev/null ||
    { tail -n 20 "$mnt/log" >&2; die "apt-get could not install $*"; }
  umount --recursive "$root"
  rm -rf "$mnt"/up/var/lib/apt/lists "$mnt"/up/var/cache/apt "$mnt"/up/var/log/apt "$mnt"/up/etc/{resolv.conf,hosts} "$mnt"/up/usr/sbin/policy-rc.d
  tar --create --file "$archive.new" --directory "$mnt/up" --numeric-owner \
    --xattrs --xattrs-include='trusted.overlay.opaque' --xattrs-include='security.*' .
  mv "$archive.new" "$archive"
}

if [ "${1:-}" = --install ]; then
  shift
  install_into "$@"
  exit
fi

[ $# = 2 ] || die "usage: layer.sh NAME DIR"
[ "$(id -u)" = 0 ] || die "needs root"
name=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2/mnt"
dir=$(cd "$2" && pwd)
mapfile -t packages < <(awk -v section="[$name]" '/^\[/ { on = $0 == section; next } on && NF && !/^#/' "$here/packages.txt")
[ ${#packages[@]} -gt 0 ] || die "no packages for \"$name\" in $here/packages.txt"

key=$({ printf '%s\n' "${packages[@]}"; cat /etc/debian_version "$here/layer.sh" /var/lib/dpkg/status; } | sha256sum | cut -c1-16)
archive=$dir/$name-$key.tar
exec 9>"$dir/lock"
flock --timeout 600 9 || die "another build holds $dir/lock"
if [ ! -e "$archive" ]; then
  echo "layer: installing into layer \"$name\" (once, kept in $dir): ${packages[*]}" >&2
  rm -f "$dir/$name"-*.tar "$dir/$name"-*.tar.new
  unshare --mount --uts --pid --fork --kill-child bash "$here/layer.sh" --install "$archive" "$dir/mnt" "${packages[@]}" 9>&-
fi
echo "$archive"
