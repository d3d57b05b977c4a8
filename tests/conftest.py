"""Fixtures of the black-box tests: a real handsd per test module, or one of a test's own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

from handsd import Handsd  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server without a key, shared by a module's tests."""
    with Handsd(tmp_path_factory.mktemp("handsd")) as running:
        yield running


@pytest.fixture
def make_server(tmp_path):
    """Starts servers with their own options; they end with the test."""
    started = []

    def make(data=None, **options):
        one = Handsd(data or tmp_path / f"data{len(started)}", **options).start()
        started.append(one)
        return one

    yield make
    for one in started:
        if one.process.poll() is None:
            one.stop()
