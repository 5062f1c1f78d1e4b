# SPDX-License-Identifier: Apache-2.0
"""pwru-py and its peer side by side: the same work, in the same guest, in turns."""
