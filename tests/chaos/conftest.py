"""How long chaos is to reign."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known when pytest is given this folder: ``pytest tests/chaos --chaos-rounds 500``."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-rounds", type=int, default=25, help="processes that are killed")
    group.addoption("--chaos-seed", type=int, default=20261121, help="of moments and faults")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--chaos-rounds", default=25))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--chaos-seed", default=20261121))
