# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

import pwru_py


@pytest.mark.parametrize("name", pwru_py.__all__)
def test_every_name_that_is_promised_is_there(name: str) -> None:
    assert getattr(pwru_py, name)


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Engine'"):
        _ = pwru_py.Engine
