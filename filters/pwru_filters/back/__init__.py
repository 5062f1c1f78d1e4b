# SPDX-License-Identifier: Apache-2.0
"""A graph and its decisions to eBPF instructions."""
