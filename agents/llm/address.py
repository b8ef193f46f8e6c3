"""Addresses of model servers. Their secrets are removed from whatever is shown, logged or stored.

ollama   HOST, HOST:PORT, http://HOST, https://HOST:PORT/PATH, :PORT, ::1, [::1]:PORT, as OLLAMA_HOST takes them: port
         11434 where nothing is said, 80 and 443 after http:// and https://; 0.0.0.0 and [::], where a server listens
         on, mean this machine
openai   http://HOST:PORT/v1
both     USER:PASSWORD@ before the host is sent as HTTP's basic authentication; several addresses, with commas between,
         are one a trainer: trainer r asks number r, and starts again at the first after the last
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from agents.policy import RunFacts
from traces.errors import InputError

OLLAMA_PORT = 11434
HOST = re.compile(r"[A-Za-z0-9._:-]+")
"""A host's name or address; libraries let more through."""

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Wildcard addresses that servers listen on, and the addresses that reach them."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is: `url` without secrets, the `headers` that carry them, and what must not be shown."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def with_key(self, key: str, variable: str) -> Address:
        """The same with a bearer token, unless the address has credentials of its own. Raises `InputError` for a key
        that can't be sent."""
        key = key.strip()
        if not key:
            return self
        if not key.isascii() or not key.isprintable():
            raise InputError(f"{variable} holds characters that no HTTP header can carry")
        headers = self.headers or (("Authorization", f"Bearer {key}"),)
        return Address(self.url, headers, self.secrets | {key})

    def hide(self, text: str) -> str:
        """The text with stars in place of every secret."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", "***", text)
        return text


def address_of(texts: str, run: RunFacts) -> str:
    """The address that this trainer asks, of one or several with commas between.

    Raises `InputError` where there are more addresses than trainers, as some would never be used.
    """
    there_are = [text.strip() for text in texts.split(",") if text.strip()] or [""]
    if len(there_are) > run.trainers:
        raise InputError(
            f"there are {len(there_are)} addresses of model servers, but {run.trainers} trainers to ask them; "
            "give one for all, or one a trainer"
        )
    return there_are[run.rank % len(there_are)]


def ollama_address(text: str) -> Address:
    """An address as `OLLAMA_HOST` takes it. Raises `InputError` for what is none."""
    text = text.strip().strip("\"'")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    if _is_ipv6(rest):
        rest = f"[{rest}]"
    usual = {"http": 80, "https": 443} if separator else {"http": OLLAMA_PORT}
    split, port = _split(f"{scheme}://{rest}", "an Ollama server", "--ollama-host or OLLAMA_HOST as http://HOST:PORT")
    host = split.hostname or "127.0.0.1"
    return _address(split, ANYWHERE.get(host, host), port or usual[scheme])


def openai_address(text: str) -> Address:
    """An address of OpenAI's API, with its path. Raises `InputError` for what is none."""
    usage = "a server", "--model-host or OPENAI_BASE_URL as http://HOST:PORT/v1"
    split, port = _split(text.strip(), *usage)
    if not split.hostname:
        raise _no_address(text, *usage)
    return _address(split, split.hostname, port)


def _split(text: str, whose: str, usage: str) -> tuple[SplitResult, int | None]:
    """The parts of an address, and its port. Raises `InputError`."""
    try:
        split = urlsplit(text)
        port = split.port
    except ValueError:
        raise _no_address(text, whose, usage) from None
    host = split.hostname or ""
    if split.scheme not in ("http", "https") or split.query or split.fragment or (host and not HOST.fullmatch(host)):
        raise _no_address(text, whose, usage)
    return split, port


def _address(split: SplitResult, host: str, port: int | None) -> Address:
    where = f"[{host}]" if ":" in host else host
    url = f"{split.scheme}://{where}{f':{port}' if port else ''}{split.path.rstrip('/')}"
    if split.username is None:
        return Address(url)
    user, password = unquote(split.username), unquote(split.password or "")
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    secrets = {token, password, split.password or ""} if password else {token, user, split.username}
    return Address(url, (("Authorization", f"Basic {token}"),), frozenset(secrets - {""}))


def _no_address(text: str, whose: str, usage: str) -> InputError:
    redacted = "***@" + text.rpartition("@")[2] if "@" in text else text
    return InputError(f"{redacted!r} is no address of {whose}: give {usage}")


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(text), ipaddress.IPv6Address)
    except ValueError:
        return False
