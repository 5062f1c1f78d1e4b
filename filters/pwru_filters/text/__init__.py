# SPDX-License-Identifier: Apache-2.0
"""What the other rooms hold, as text for a listing."""
