# SPDX-License-Identifier: Apache-2.0
"""The contract with bpf/: record bytes to events, settings to bytes. Pure."""
