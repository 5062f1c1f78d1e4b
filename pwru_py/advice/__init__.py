# SPDX-License-Identifier: Apache-2.0
"""What has dropped a packet, and what would change it: values of the kernel to findings. Pure.

``case`` has the types, one file a subsystem its diagnoses, ``table`` all of them.
"""
