# SPDX-License-Identifier: Apache-2.0
"""What a session is asked to do: flags, and the checked values they become."""
