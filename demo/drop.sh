#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A firewall drops a connection to 1.1.1.1: where? Runs in a network namespace of its own (or a
# guest), as root, with pwru-py in PATH. Exits 0 only when the trace shows the drop.
set -u
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

ip link set lo up
ip link add demo0 type veth peer name demo1 && ip link set demo1 up
ip addr add 10.0.0.2/24 dev demo0
ip link set demo0 up
ip route add default via 10.0.0.1 dev demo0
iptables-legacy -A OUTPUT -p tcp -d 1.1.1.1 --dport 80 -j DROP || exit 3

echo "# iptables -A OUTPUT -p tcp -d 1.1.1.1 --dport 80 -j DROP"
echo "# pwru-py --output-stack 'dst host 1.1.1.1 and tcp' &  timeout 1 bash -c '</dev/tcp/1.1.1.1/80'"
pwru-py --output-stack --ready-file "$out/ready" 'dst host 1.1.1.1 and tcp' >"$out/trace" &
tracer=$!
for _ in $(seq 1800); do
	[ -e "$out/ready" ] && break
	kill -0 $tracer 2>/dev/null || break
	sleep 0.1
done
timeout 1 bash -c '</dev/tcp/1.1.1.1/80' 2>/dev/null
kill -TERM $tracer 2>/dev/null
wait $tracer
status=$?
cat "$out/trace"
[ $status -eq 0 ] || exit 1

# The drop, with its reason where the kernel has reasons, and who called for it.
awk '
	/^0x/ { drop = /skb:kfree_skb  (NETFILTER_DROP )?at nf_hook_slow/ }
	drop && /^ +nf_hook_slow\+/ { seen = 1 }
	END { exit !seen }
' "$out/trace" || { echo "demo: the drop was not seen" >&2; exit 1; }
echo "demo: seen: the packets were dropped by netfilter, called from __ip_local_out"
