# SPDX-License-Identifier: Apache-2.0
"""Packets that change their sk_buff, or lose their device; drops that no function tells."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.kernel.lab import Lab
from tests.native.test_tracepoints import TALK

# f and g, one veth pair.
NETWORK = """
ip netns add f; ip netns add g
ip link add lf netns f type veth peer name lg netns g
for n in f g; do ip -n $n link set lo up; ip -n $n link set l$n up; done
ip -n f addr add 10.8.0.1/24 dev lf; ip -n g addr add 10.8.0.2/24 dev lg
ip netns exec f ping -c1 -W5 10.8.0.2
"""
TRACEFS = "/sys/kernel/tracing"
SEND = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4000000)
for n in range(int(sys.argv[1])):
    try:
        s.sendto(b"x" * int(sys.argv[2]), ("10.8.0.2", 4000))
    except ConnectionRefusedError:
        pass
    time.sleep(float(sys.argv[3]))
"""
# A connection, then a segment without any flag on it: tcp_rcv_established() drops that.
BAD_FLAGS = Path(__file__).parent / "inside" / "bad_flags.py"


@pytest.fixture(scope="module")
def pair(lab: Lab) -> Lab:
    done = lab.run(NETWORK)
    assert done.rc == 0, done.stdout + done.stderr
    lab.guest.write_file("/tmp/send.py", SEND.encode())
    return lab


def test_every_drop_of_the_tracepoint_is_counted(pair: Lab) -> None:
    """A queue that overflows frees lists; then addresses are dropped one by one."""
    queue = "tc qdisc add dev lf root handle 1: tbf rate 1mbit burst 2000 limit 1000000"
    assert pair.inside("f", f"{queue} && tc qdisc add dev lf parent 1: fq_codel limit 60").rc == 0
    with pair.tracing(*pair.few, "udp and dst port 4000 and src host 10.8.0.1") as tracing:
        pair.run(f"echo > {TRACEFS}/trace; echo 1 > {TRACEFS}/events/skb/kfree_skb/enable")
        pair.inside("f", "python3 -I -S /tmp/send.py 200 1000 0; sleep 1")
        pair.inside("f", "python3 -I -S /tmp/send.py 20 100 0.01; sleep 1")
        pair.run(f"echo 0 > {TRACEFS}/events/skb/kfree_skb/enable")
    pair.inside("f", "tc qdisc del dev lf root")
    assert tracing.trace is not None
    told = pair.run(f"grep -c 'kfree_skb:.*protocol=2048' {TRACEFS}/trace").stdout
    summary = tracing.trace.summary
    assert sum(summary["drops"].values()) + summary["pieces"] == int(told)
    assert int(told) > 60
    drops = [event for event in tracing.trace.events if event["func"] == "skb:kfree_skb"]
    assert len(drops) == int(told)
    assert Counter(e["drop_reason"] for e in drops if e["drop"]) == Counter(
        {reason if pair.has_reasons else None: n for reason, n in summary["drops"].items()}
    )


@pytest.mark.parametrize("more", [[], ["--filter-netns", "g"], ["--filter-netns", "g", "-i", "lg"]])
def test_tcp_drops_have_a_namespace(pair: Lab, more: list[str]) -> None:
    """skb->dev is cleared, and skb->sk empty, from tcp_v4_do_rcv() on."""
    pair.guest.write_file("/tmp/flags.py", BAD_FLAGS.read_bytes())
    listen = "import socket; s = socket.socket(); s.bind(('10.8.0.2', 5000)); s.listen(); "
    listen += "k = [s.accept(), s.accept()]"
    server = pair.guest.start(f'exec ip netns exec g python3 -I -S -c "{listen}"')
    pair.inside("g", "until ss -ltn | grep -q :5000; do sleep 0.1; done")
    functions = (
        "kfree_skb|kfree_skb_reason|sk_skb_reason_drop|tcp_v4_do_rcv|tcp_v4_rcv|kfree_skbmem"
    )
    expression = "tcp dst port 5000 and src host 10.8.0.1"
    with pair.tracing("--filter-func", functions, *more, expression) as tracing:
        pair.inside("f", "python3 -I -S /tmp/flags.py")
    server.stop()
    assert tracing.trace is not None
    drops = [event for event in tracing.trace.events if event["drop"]]
    if pair.has_reasons:  # before, tcp_drop() freed without a word to the tracepoint
        assert [event["netns"] for event in drops] == [pair.inode("g")]
        assert [event["drop_reason"] for event in drops] == ["TCP_FLAGS"]
    handled = [e for e in tracing.trace.events if e["func"] == "tcp_v4_do_rcv"]
    assert {event["netns"] for event in handled} == {pair.inode("g")}


@pytest.mark.representative("5.10", "newest")
def test_packets_that_give_way_are_counted(pair: Lab) -> None:
    """Forty lie in a socket that nobody reads; there is room for eight."""
    hold = "import socket, time; s = socket.socket(2, 2); s.bind(('10.8.0.2', 4001)); "
    hold += "open('/tmp/held', 'w'); time.sleep(99)"
    holder = pair.guest.start(f'exec ip netns exec g python3 -I -S -c "{hold}"')
    pair.guest.wait_file("/tmp/held", 30)
    send = "import socket; s = socket.socket(2, 2); "
    send += "[s.sendto(b'x', ('10.8.0.2', 4001)) for n in range(40)]"
    room = ("--track-size", "8", "--filter-track-skb", "--filter-func", "ip_rcv|kfree_skbmem")
    with pair.tracing(*room, "udp dst port 4001") as tracing:
        pair.inside("f", f'python3 -I -S -c "{send}"')
    holder.stop()
    assert tracing.trace is not None
    assert tracing.trace.functions.count("ip_rcv") == 40
    gone = tracing.trace.summary["losses"]["track_full"]
    assert 32 <= gone <= 40
    assert f"not followed: {gone} packets, too many at once" in tracing.trace.stderr


def test_fragments_are_followed(pair: Lab) -> None:
    rule = "add table ip r; add chain ip r p { type filter hook prerouting priority -500; }; "
    rule += "add rule ip r p ip frag-off & 0x1fff != 0 counter drop"
    assert pair.inside("g", f"nft '{rule}'").rc == 0
    with pair.tracing("--filter-track-skb", *pair.few, "udp port 4000") as tracing:
        pair.inside("f", "python3 -I -S /tmp/send.py 1 2000 0")
    pair.inside("g", "nft delete table ip r")
    assert tracing.trace is not None
    later = [e for e in tracing.trace.events if e["tuple"] and e["tuple"].get("fragment")]
    assert later
    assert {event["parent"] for event in later} >= {1}
    assert sum(tracing.trace.summary["drops"].values()) == 1


def test_segments_of_tcp_are_followed(pair: Lab) -> None:
    """Followed, a transfer is what it is by its ports: no packet more, none less."""
    take = "import socket; s = socket.socket(); s.bind(('10.8.0.2', 5001)); s.listen(); "
    take += "k = s.accept()[0]\nwhile k.recv(65536): pass"
    pair.guest.write_file("/tmp/take.py", take.encode())
    server = pair.guest.start("exec ip netns exec g python3 -I -S /tmp/take.py")
    pair.inside("g", "until ss -ltn | grep -q :5001; do sleep 0.1; done")
    send = "import socket; s = socket.create_connection(('10.8.0.2', 5001)); "
    send += "s.sendall(bytes(200000)); s.close()"
    functions = "tcp_v4_rcv|__tcp_transmit_skb|ip_rcv|kfree_skbmem|skb_clone"
    expression = "tcp dst port 5001 and src host 10.8.0.1"
    followed = pair.listen(
        "--output-json", "--filter-track-skb", "--filter-func", functions, expression
    )
    matched = pair.listen("--output-json", "--filter-func", functions, expression)
    pair.inside("f", f'python3 -I -S -c "{send}"')
    server.wait(30)
    traces = followed.finish(), matched.finish()
    hits = [trace.functions.count("tcp_v4_rcv") for trace in traces]
    assert hits[0] == hits[1] > 3


# ioctl(2) SIOCETHTOOL: ETHTOOL_SGRO for the one that receives, ETHTOOL_STSO for the one that sends.
OFFLOAD = """
import array, fcntl, socket, struct, sys
name, command, value = sys.argv[1].encode(), int(sys.argv[2], 0), int(sys.argv[3])
order = array.array("I", [command, value])
request = struct.pack("16sP", name, order.buffer_info()[0])
fcntl.ioctl(socket.socket(), 0x8946, request)
"""


@pytest.mark.kernels("6.1", "6.12", "newest")  # 5.10: a veth merges nothing without XDP
def test_a_packet_that_takes_others_in_stays_what_it_is(pair: Lab) -> None:
    """Small segments that GRO merges: the packet that takes them in keeps its number."""
    pair.guest.write_file("/tmp/offload.py", OFFLOAD.encode())
    set_up = "python3 -I -S /tmp/offload.py"
    assert pair.inside("g", f"{set_up} lg 0x2c 1").rc == 0
    assert pair.inside("f", f"{set_up} lf 0x1f 0").rc == 0
    take = "import socket; s = socket.socket(); s.bind(('10.8.0.2', 5003)); s.listen(); "
    take += "k = s.accept()[0]\nwhile k.recv(65536): pass"
    pair.guest.write_file("/tmp/take.py", take.encode())
    server = pair.guest.start("exec ip netns exec g python3 -I -S /tmp/take.py")
    pair.inside("g", "until ss -ltn | grep -q :5003; do sleep 0.1; done")
    send = "import socket; s = socket.create_connection(('10.8.0.2', 5003)); "
    send += "s.sendall(bytes(200000)); s.close()"
    functions = "dev_gro_receive|napi_gro_receive|gro_receive_skb|skb_gro_receive|tcp_v4_rcv"
    functions += "|kfree_skbmem|kfree_skb_partial"
    arguments = ("--filter-track-skb", "--filter-netns", "g", "--filter-func", functions)
    with pair.tracing(*arguments, "tcp dst port 5003") as tracing:
        pair.inside("f", f'python3 -I -S -c "{send}"')
        server.wait(30)
    pair.inside("f", f"{set_up} lf 0x1f 1")
    pair.inside("g", f"{set_up} lg 0x2c 0")
    assert tracing.trace is not None
    arrived: dict[str, int] = {}
    taken: set[str] = set()
    kept = 0
    for event in tracing.trace.events:
        skb = event["skb"]
        if event["func"] in ("dev_gro_receive", "napi_gro_receive", "gro_receive_skb"):
            arrived[skb] = event["packet"]
            taken.discard(skb)
        elif event["func"] == "skb_gro_receive":
            taken.add(skb)
        elif event["func"] == "tcp_v4_rcv" and skb in taken:
            assert event["packet"] == arrived[skb]
            kept += 1
    assert kept > 3


@pytest.mark.representative("5.10", "6.12")
def test_packets_that_only_a_tag_keeps_away_are_told(pair: Lab) -> None:
    """As in tcpdump, a filter without ``vlan`` does not see a frame that has a tag."""
    for name, address in (("f", "10.8.5.1"), ("g", "10.8.5.2")):
        done = pair.inside(name, f"ip link add link l{name} name tag type vlan id 5 && ip link set "
                           f"tag up && ip addr add {address}/24 dev tag")  # fmt: skip
        assert done.rc == 0, done.stderr
    expression = "icmp and host 10.8.5.2"
    tagged = pair.listen("--output-json", *pair.few, f"vlan 5 and {expression}")
    plain = pair.listen("--output-json", *pair.few, expression)
    assert pair.inside("f", "ping -c1 -W5 10.8.5.2").rc == 0
    hidden = tagged.finish()
    trace = plain.finish()
    assert "ip_rcv" in trace.functions, "behind the VLAN device it is seen"
    assert trace.summary["tagged"] == len(hidden.events) > 0
    assert "matched but for a VLAN tag" in trace.stderr


XDP = """
__attribute__((section("xdp"), used)) int accept(void *context) { return 2; }
char terms[] __attribute__((section("license"), used)) = "GPL";
"""


@pytest.mark.representative("5.10", "newest")
def test_native_xdp_is_crossed(pair: Lab) -> None:
    """A veth with an XDP program makes a new sk_buff of the bytes; NAT has changed the packet."""
    nat = "add table ip n; add chain ip n o { type nat hook output priority -100; }; "
    nat += "add rule ip n o ip daddr 10.99.0.9 dnat to 10.8.0.2"
    pair.guest.write_file("/tmp/xdp.c", XDP.encode())
    made = pair.run("clang -O2 -target bpf -c /tmp/xdp.c -o /tmp/xdp.o")
    assert made.rc == 0, made.stderr
    assert pair.inside("g", "ip link set dev lg xdpdrv obj /tmp/xdp.o sec xdp").rc == 0
    assert pair.inside("f", f"nft '{nat}' && ip route add 10.99.0.9 via 10.8.0.2").rc == 0
    with pair.tracing("--filter-track-skb", *pair.few, "dst host 10.99.0.9") as tracing:
        pair.inside("f", "ping -c1 -W5 10.99.0.9")
    pair.inside("f", "nft delete table ip n")
    pair.inside("g", "ip link set dev lg xdpdrv off")
    assert tracing.trace is not None
    assert tracing.trace.functions.count("icmp_rcv") == 1


# As where the kernel lets no program at a function.
ALONE = """
from pwru_py.programs import prepare
every = prepare.choices
prepare.choices = lambda *given: tuple(c for c in every(*given) if not c.follows)
from pwru_py.cli import main
raise SystemExit(main())
"""


def test_by_tracepoints_alone(lab: Lab) -> None:
    """What gets the addresses of packets that TCP has freed is not taken for them."""
    lab.guest.write_file("/tmp/alone.py", ALONE.encode())
    lab.guest.write_file("/tmp/talk.py", TALK.encode())
    arguments = ("--backend", "tracepoint", "--filter-track-skb", "--output-json", "tcp port 4005")
    tracing = lab.listen(*arguments, through="python /tmp/alone.py")
    done = lab.inside("a", "python3 /tmp/talk.py")
    trace = tracing.finish()
    assert (done.rc, trace.rc) == (0, 0), done.stderr + trace.stderr
    sent = [e["packet"] for e in trace.events if e["func"] == "net:net_dev_queue"]
    assert len(set(sent)) == len(sent) > 40
    assert [e for e in trace.events if e["tuple"] is None or e["tuple"]["proto"] != 6] == []
