"""One pool for all tests of this folder: its workers load sympy once."""

from collections.abc import Iterator

import pytest

from distill_studio.verify import VerifyPool


@pytest.fixture(scope="session")
def pool() -> Iterator[VerifyPool]:
    with VerifyPool(workers=1, timeout_s=60.0) as shared:  # a busy machine is slow, not wrong
        yield shared
