import pytest

from sdk import Encoding
from server import serving
from wire import served


@pytest.fixture
def server():
    """A server of the test's own."""
    with serving() as server:
        yield server


@pytest.fixture(params=["json", "protobuf"])
def encoding(request):
    return Encoding(request.param)


@pytest.fixture(scope="session")
def shared():
    """One server that must survive all bad input."""
    with serving() as server:
        yield server


@pytest.fixture
def healthy(shared):
    """A client of the shared server that bad input must not disturb."""
    with served(shared):
        yield
