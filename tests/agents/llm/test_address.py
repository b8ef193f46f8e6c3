"""Addresses as people write them, one a trainer, and what is never shown."""

from __future__ import annotations

import base64

import pytest

from agents.llm.address import address_of, ollama_address, openai_address
from traces.errors import InputError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("gpu0", "http://gpu0:11434"),
        ("gpu0:8080", "http://gpu0:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("10.0.0.1", "http://10.0.0.1:11434"),
        ("http://gpu0", "http://gpu0:80"),
        ("https://gpu0", "https://gpu0:443"),
        ("https://gpu0:8443/", "https://gpu0:8443"),
        ("gpu0/ollama/", "http://gpu0:11434/ollama"),
        ("https://gpu0/proxy/ollama", "https://gpu0:443/proxy/ollama"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("::", "http://[::1]:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[fe80::1]:8080", "http://[fe80::1]:8080"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        (' "gpu0:8080" ', "http://gpu0:8080"),
        ("u:p@gpu0", "http://gpu0:11434"),
    ],
)
def test_every_form_that_the_variable_takes(text, url):
    assert ollama_address(text).url == url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://gpu0:8000/v1/", "http://gpu0:8000/v1"),
        ("https://api.example/v1", "https://api.example/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_addresses_of_openais_api_keep_their_path(text, url):
    assert openai_address(text).url == url


@pytest.mark.parametrize(
    "text", ["http://[", "http://a:b", "::::", "ftp://h", "h:99999", "http://h/?q=1", "http://a b"]
)
@pytest.mark.parametrize("parse", [ollama_address, openai_address])
def test_what_is_no_address_is_refused_without_its_secrets(parse, text):
    for shown in (text, text.replace("://", "://user:pass@") if "://" in text else f"user:pass@{text}"):
        with pytest.raises(InputError, match="is no address of") as error:
            parse(shown)
        assert "pass" not in str(error.value)
        assert "user" not in str(error.value)


def test_a_password_goes_out_as_basic_authentication_and_is_not_shown():
    address = ollama_address("https://me:p%40ss@gpu0")
    token = base64.b64encode(b"me:p@ss").decode()
    assert address.headers == (("Authorization", f"Basic {token}"),)
    assert not any(secret in repr(address) for secret in ("p%40ss", "p@ss", token, "me"))
    assert address.hide(f"no p@ss, no p%40ss, no {token}; passed") == "no ***, no ***, no ***; passed"
    assert ollama_address("tok3n@gpu0").hide("user tok3n is unknown") == "user *** is unknown"


def test_a_key_goes_out_as_a_bearers_unless_the_address_says_who_asks():
    address = openai_address("http://gpu0/v1").with_key("sk-1\n", "OPENAI_API_KEY")
    assert address.headers == (("Authorization", "Bearer sk-1"),)
    assert "sk-1" not in repr(address)
    assert address.hide("Incorrect API key: sk-1.") == "Incorrect API key: ***."
    both = openai_address("http://u:p@gpu0/v1").with_key("sk-1", "OPENAI_API_KEY")
    assert both.headers[0][1].startswith("Basic ")
    assert both.hide("sk-1 p") == "*** ***"
    assert openai_address("http://gpu0/v1").with_key(" ", "OPENAI_API_KEY").headers == ()


@pytest.mark.parametrize("key", ["sk-\u20ac", "sk-\x00", "sk\n-1"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key):
    with pytest.raises(InputError, match="OPENAI_API_KEY holds characters") as error:
        openai_address("http://gpu0/v1").with_key(key, "OPENAI_API_KEY")
    assert "sk" not in str(error.value)


def test_several_addresses_are_one_a_trainer(make_run):
    hosts = "gpu0, gpu1,gpu2"
    assert [address_of(hosts, make_run(rank=rank, trainers=4)) for rank in range(4)] == ["gpu0", "gpu1", "gpu2", "gpu0"]
    assert address_of("gpu0", make_run(rank=1)) == "gpu0"
    assert address_of("", make_run()) == ""
    with pytest.raises(InputError, match="there are 3 addresses of model servers, but 2 trainers"):
        address_of(hosts, make_run(trainers=2))
