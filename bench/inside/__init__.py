# SPDX-License-Identifier: Apache-2.0
"""What runs inside a guest. Each module reads a file of JSON and prints JSON."""
