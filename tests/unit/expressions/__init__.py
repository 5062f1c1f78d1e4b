# SPDX-License-Identifier: Apache-2.0
"""Tests of the compiler of field expressions."""
