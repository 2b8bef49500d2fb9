#!/bin/busybox sh
# The guest's first process: lays a layer in memory over the host's files, runs /command among them, switches off.
# The console gets "exit N" of the command, or what went wrong; the second serial port the command's output.
fail() { echo "guest: $*"; exec poweroff -f; }

/bin/busybox mkdir -p /sbin /proc /sys /dev /host /layer /root /etc
/bin/busybox --install -s /bin
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci 9pnet_virtio 9p overlay; do modprobe $module || fail "no module $module"; done

# cache=loose: the host's files do not change meanwhile, or it does not matter.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose host /host || fail "no root by 9p"
mount -t tmpfs layer /layer && mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/copies:/host,upperdir=/layer/upper,workdir=/layer/work overlay /root || fail "no overlay"
# Whole folders that came along hide the host's: else each look for a file that is not there would go to the host.
while read -r folder; do mount -o bind "/copies$folder" "/root$folder" || fail "no $folder"; done < /folders
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t tmpfs -o mode=755 run /root/run
# A folder that outlives the guest, if it was given one.
mkdir -p /root/kept
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 kept /root/kept 2> /dev/null

# From now on all modules: those that the kernel asks for are loaded here, outside of the command's root.
mount -o bind "/host$(cat /modules)" /lib/modules || fail "no modules"
ln -s /bin/busybox /sbin/modprobe
echo /sbin/modprobe > /proc/sys/kernel/modprobe
ip link set lo up
hostname guest
stty -F /dev/ttyS1 raw -echo
cp /command /root/run/command
chroot /root /bin/sh /run/command > /dev/ttyS1 2>&1 < /dev/null
echo "exit $?"
sync
exec poweroff -f
