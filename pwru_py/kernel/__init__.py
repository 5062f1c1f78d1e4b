# SPDX-License-Identifier: Apache-2.0
"""The only rooms that touch ctypes, file descriptors, /proc and /sys."""
