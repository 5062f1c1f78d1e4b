# SPDX-License-Identifier: Apache-2.0
"""What tests run inside a guest, as modules (``python -m``): each prints one JSON document."""
