# SPDX-License-Identifier: Apache-2.0
"""What the process of aside.py runs, as a script: an expression from stdin, its program to stdout.

Arguments: seconds of processor time, then what pcapy.compile() takes beside the expression.
"""

import struct
import sys

PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
REFUSED = 3
"""The status where stdout has libpcap's words."""

INSN = struct.Struct("=HBBI")


def main() -> int:
    import ctypes
    import resource
    import signal

    import pcapy

    cpu_seconds, link, snaplen, optimize, netmask = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    expression = sys.stdin.buffer.read().decode()
    out = sys.stdout.buffer
    try:
        program = pcapy.compile(link, snaplen, expression, optimize, netmask)
    except pcapy.PcapError as error:
        out.write(str(error).encode(errors="backslashreplace"))
        return REFUSED
    out.writelines(INSN.pack(*insn) for insn in program.get_bpf())
    return 0


if __name__ == "__main__":
    sys.exit(main())
