# SPDX-License-Identifier: Apache-2.0
"""What events tell of packets, together: the account. Pure."""
