# SPDX-License-Identifier: Apache-2.0
"""From a Config to a loaded program: prepare, splice, load."""
