#!/bin/sh
# Runs a command on a root of its own: this machine's files, under a layer in memory that goes with the command.
# Usage: unshare --mount --propagation private sh root.sh COMMAND ... (as root; an overlay needs another file system)
set -e
mount -t tmpfs layer /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
for name in proc sys dev; do mount --rbind "/$name" "/mnt/root/$name"; done
mount -t tmpfs run /mnt/root/run
mount -t tmpfs tmp /mnt/root/tmp
here="$(pwd)"
cd /mnt/root
pivot_root . mnt
umount -l /mnt
cd "$here"
exec "$@"
