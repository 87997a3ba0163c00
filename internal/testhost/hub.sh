#!/bin/bash
# hub.sh MNT: hold what the hosts of one test share, until standard input ends: a bridge for their network, a file
# system in memory for what they write, and the cgroup that they live in. It is started in mount and network namespaces
# of its own, so that all of it is gone with the last process that uses it, however the test ends.
set -euo pipefail
mnt=$1 group=certmedic-testhost-$$

mount --make-rslave / # later mounts of the machine are seen here, those made here are not seen there
mount -t tmpfs -o mode=755 tmpfs "$mnt"
mkdir "$mnt/hosts" "$mnt/layers" "$mnt/cgroup"
mount -t cgroup2 cgroup2 "$mnt/cgroup"

# Cgroups are the one thing that no namespace takes away. Those of a hub that was killed are removed by the next one.
for left in "$mnt"/cgroup/certmedic-testhost-*; do
  [ -d "/proc/${left##*-}" ] || find "$left" -depth -type d -delete 2>/dev/null || true
done
mkdir "$mnt/cgroup/$group"

ip link set lo up
ip link add br0 type bridge
ip link set br0 up
echo ready

while read -r _; do :; done
for _ in {1..100}; do # the hosts are being killed: wait until the last process has left
  find "$mnt/cgroup/$group" -depth -type d -delete 2>/dev/null && exit 0
  sleep 0.05
done
echo "hub: the cgroup $group is still in use" >&2
exit 1
