# SPDX-License-Identifier: Apache-2.0
"""What runs inside a guest. Each module takes JSON as its one argument and prints JSON."""
