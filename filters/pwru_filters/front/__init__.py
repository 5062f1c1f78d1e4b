# SPDX-License-Identifier: Apache-2.0
"""A pcap-filter(7) expression to valid cBPF."""
