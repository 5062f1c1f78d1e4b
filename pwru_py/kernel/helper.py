# SPDX-License-Identifier: Apache-2.0
"""Processes beside the session, which keep the rights that it gives up once it is attached."""

from __future__ import annotations

import os
import subprocess
import sys

_CODE = "import sys; sys.path[:] = {path!r}; from {module} import main; main()"


def start_helper(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Runs ``main()`` of a module, which reads questions and writes answers until its standard
    input ends. Raises OSError.
    """
    code = _CODE.format(path=[os.path.abspath(place) for place in sys.path], module=module)
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the tracer's
    )
