# SPDX-License-Identifier: Apache-2.0
"""Why a trace stayed empty: evidence gathered beside a session, and what follows from it."""
