# SPDX-License-Identifier: Apache-2.0
"""cBPF to a graph of blocks, ever simpler, and the decisions about it."""
