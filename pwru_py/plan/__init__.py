# SPDX-License-Identifier: Apache-2.0
"""What to attach, and where a function has its arguments. Pure."""
