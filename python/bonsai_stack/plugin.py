"""The pytest fixtures: `bonsai_stack`, one stack for the session, and `bonsai_stack_options`, to be overridden."""

import pytest

from . import Stack


@pytest.fixture(scope="session")
def bonsai_stack_options():
    """Arguments of `Stack`, such as {"only": ["log-broker"]}."""
    return {}


@pytest.fixture(scope="session")
def bonsai_stack(bonsai_stack_options):
    with Stack(**bonsai_stack_options) as stack:
        yield stack
