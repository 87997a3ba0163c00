#!/bin/bash
# boot.sh MNT HUB NUMBER NAME LAYER DISK [DIR...]: become process 1 of the throwaway host NAME, the NUMBER-th of the network
# that process HUB holds. It is started in process, network, UTS and IPC namespaces of its own, and in a private copy
# of the hub's mount namespace. The host is this machine's root file system under LAYER, if any, under a directory of its own
# below MNT, which holds what the archive DISK has, if any, when it starts for the first time; each DIR is bound at its own path.
set -euo pipefail
mnt=$1 hub=$2 number=$3 name=$4 layer=$5 saved=$6
shift 6
disk=$mnt/hosts/$name root=$mnt/hosts/$name/root
cgroup=$mnt/cgroup/certmedic-testhost-$hub/$name

# Network: a cable to the hub's bridge.
ip link set lo up
nsenter --net="/proc/$hub/ns/net" ip link delete "host$number" 2>/dev/null || true # of before a power cut
ip link add eth0 type veth peer name "host$number" netns "/proc/$hub/ns/net"
nsenter --net="/proc/$hub/ns/net" ip link set "host$number" master br0 up
ip addr add "10.77.0.$number/24" dev eth0
ip link set eth0 up

# Disk. A host that was down starts again with what it wrote.
first=true
[ -d "$disk" ] && first=false
mkdir -p "$disk/up" "$disk/work" "$root" "$cgroup"
if $first && [ -n "$saved" ]; then
  tar --extract --file "$saved" --directory "$disk/up" --xattrs --xattrs-include='*' --numeric-owner
fi
mount -t overlay overlay -o "lowerdir=${layer:+$mnt/layers/$layer:}/,upperdir=$disk/up,workdir=$disk/work" "$root"

# Devices and kernel settings of its own, or read-only: nothing that is written inside reaches the machine.
mount -t proc proc "$root/proc"
for path in sys sysrq-trigger irq bus; do
  [ -e "$root/proc/$path" ] || continue
  mount --bind "$root/proc/$path" "$root/proc/$path"
  mount -o remount,bind,ro "$root/proc/$path"
done
mount -t sysfs -o ro sysfs "$root/sys"
mount --bind "$cgroup" "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
cp -a /dev/{null,zero,full,random,urandom,tty} "$root/dev/"
ln -s /proc/self/fd "$root/dev/fd"
ln -s pts/ptmx "$root/dev/ptmx"
for i in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${i#*:}" "$root/dev/${i%:*}"; done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for dir in "$@"; do
  mkdir -p "$root$dir"
  mount --rbind "$dir" "$root$dir"
done

# Services: none of the machine's own and none that came enabled with a package. What a test enables starts.
$first && echo "$name" >"$root/etc/hostname"
if $first && [ -z "$saved" ]; then
  rm -rf "$root"/etc/systemd/system/*.{wants,requires} "$root/usr/sbin/policy-rc.d"
  ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
  for unit in getty.target systemd-{logind,udevd}.service sys-kernel-{debug,tracing}.mount dev-hugepages.mount sys-fs-fuse-connections.mount; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
fi

hostname "$name"
echo 0 >"$cgroup/cgroup.procs"
cd "$root"
pivot_root . .
umount --lazy .
exec env -i container=certmedic-testhost PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  unshare --cgroup setpriv --bounding-set=-sys_time,-sys_module \
  /lib/systemd/systemd --system --log-target=journal --show-status=0
