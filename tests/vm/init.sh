#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# First program in the guest, as root: what virtme's init leaves out, then the agent for good.
# usage: init.sh PYTHON AGENT PORT

[ -d /sys/class/virtio-ports ] || modprobe virtio_console
mounts=$(cat /proc/mounts)
mount_if_missing() {
	case $mounts in
	*" $2 $1 "*) ;;
	*) mount -t "$1" "$1" "$2" ;;
	esac
}
mount_if_missing tracefs /sys/kernel/tracing
mount_if_missing debugfs /sys/kernel/debug
mount_if_missing bpf /sys/fs/bpf
ip link set lo up
cd "$(dirname "$0")/../.." || exit
exec "$1" -I -S "$2" "$3"
