"""Fixtures of tests with scripts and with a model of their own; a folder's conftest imports those it wants."""

import pytest

from handsd import Handsd
from model_server import ModelServer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server that plays scripts, shared by a module's tests."""
    folder = tmp_path_factory.mktemp("handsd")
    with Handsd(folder / "data", scripts=folder / "scripts") as running:
        yield running


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def model():
    one = ModelServer()
    yield one
    one.close()
