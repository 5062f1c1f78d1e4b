# SPDX-License-Identifier: Apache-2.0
"""The kernel lab: Debian's kernels, booted under QEMU on this machine's own root file system."""
