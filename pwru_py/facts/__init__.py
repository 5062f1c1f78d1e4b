# SPDX-License-Identifier: Apache-2.0
"""Knowledge of the kernel, from its bytes and texts: types, symbols, features, roles. Pure."""
