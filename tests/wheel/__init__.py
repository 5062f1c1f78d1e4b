# SPDX-License-Identifier: Apache-2.0
"""The wheel: built as for a user, looked through, and tried in environments of its own."""
