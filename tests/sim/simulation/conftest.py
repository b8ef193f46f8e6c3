import pytest


@pytest.fixture(params=["compiled", "simpy"])
def engine(request):
    """Both engines: they are one model."""
    return request.param
