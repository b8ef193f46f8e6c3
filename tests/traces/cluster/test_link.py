import pytest

from traces.cluster.link import parse_link
from traces.errors import InputError


@pytest.mark.parametrize(
    ("rate", "bytes_per_s"),
    [
        ("200mbit", 25_000_000.0),
        ("1gbit", 125_000_000.0),
        ("2.5Gbit", 312_500_000.0),
        (" 100 Mbit/s ", 12_500_000.0),
        ("8kbit", 1000.0),
        ("8bit", 1.0),
        ("1tbit", 125e9),
    ],
)
def test_rates(rate, bytes_per_s):
    assert parse_link(rate) == bytes_per_s


@pytest.mark.parametrize(
    "rate",
    ["", "fast", "200", "mbit", "0mbit", "0.000001bit", "-1mbit", "nanbit", "infmbit", "1e3mbit", "200mbps", "200 MB/s",
     "200mibit", "1,5gbit", "٢mbit"],
)  # fmt: skip
def test_nonsense(rate):
    with pytest.raises(InputError, match="link rate"):
        parse_link(rate)
