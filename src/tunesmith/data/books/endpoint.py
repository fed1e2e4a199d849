"""Asking a model behind an OpenAI-compatible endpoint, patiently."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tunesmith.data.books.questions import Ask, Refused
from tunesmith.errors import InputError, WorkError

_BUSY = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_REFUSALS = {400, 413, 422}  # this prompt is not taken, such as one that is too long; another may be
_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, whom, and how. The key is in no message and in no file.

    `timeout` is in seconds; `tries` counts the first one. Waits double from `wait` seconds on, unless the server says
    how long to wait.
    """

    url: str
    model: str
    key: str | None = None
    temperature: float = 0.7
    max_tokens: int = 1024
    seed: int = 0
    timeout: float = 120.0
    tries: int = 6
    wait: float = 1.0

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, {self.model!r})"


def asking(endpoint: Endpoint, *, sleep: Callable[[float], None] = time.sleep) -> Ask:
    """A function that asks the endpoint.

    It raises:
        Refused: the endpoint does not take this prompt.
        InputError: it takes none: a wrong URL, model or key.
        WorkError: it does not answer, or not in the way such endpoints do.
    """
    import httpx

    address = _address(endpoint.url)
    headers = _headers(endpoint)

    def ask(messages: list[dict[str, str]]) -> str:
        body = {
            "model": endpoint.model,
            "messages": messages,
            "temperature": endpoint.temperature,
            "max_tokens": endpoint.max_tokens,
            "seed": endpoint.seed,
        }
        problem, wait = "", endpoint.wait
        for attempt in range(endpoint.tries):
            if attempt:
                sleep(min(wait, _LONGEST_WAIT))
                wait *= 2
            try:
                response = httpx.post(address, json=body, headers=headers, timeout=endpoint.timeout)
            except httpx.RequestError as error:
                problem = f"it does not answer ({str(error) or type(error).__name__})"
                continue
            if response.status_code not in _BUSY:
                return _reply(response, endpoint)
            problem = f"it answers with status {response.status_code}: {_message(response)}"
            wait = max(wait, _asked_to_wait(response))
        raise WorkError(
            f"gave up after {endpoint.tries} tries: {problem}",
            where=endpoint.url,
            remedy="once it answers again, the same command goes on where it stopped",
        )

    return ask


def _address(url: str) -> str:
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    fits = parsed.port is None or 0 < parsed.port < 65536
    if parsed.scheme not in ("http", "https") or not parsed.host or not fits:
        raise InputError(f"--endpoint {url!r} is no address", expected="one such as http://localhost:8000/v1")
    if parsed.userinfo:
        raise InputError("the address of --endpoint holds a password", remedy="give the key by --key-env")
    plain = url.rstrip("/")
    return plain if plain.endswith("/chat/completions") else f"{plain}/chat/completions"


def _headers(endpoint: Endpoint) -> dict[str, str]:
    if endpoint.key is None:
        return {}
    if not endpoint.key.isascii() or not endpoint.key.isprintable() or not endpoint.key.strip():
        raise InputError("the key for the endpoint is empty or holds characters that no key has")
    return {"Authorization": f"Bearer {endpoint.key.strip()}"}


def _reply(response: Any, endpoint: Endpoint) -> str:
    status = response.status_code
    if status in _REFUSALS:
        raise Refused(f"the endpoint refuses the prompt: {_message(response)}")
    if status in (401, 403):
        raise InputError(
            f"the endpoint does not let us in (status {status})",
            where=endpoint.url,
            remedy="name the environment variable that holds the key with --key-env",
        )
    if status != 200:
        raise InputError(
            f"the endpoint answers with status {status}: {_message(response)}",
            where=endpoint.url,
            remedy="see that the address ends in /v1 or the like, and that it has this model",
        )
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, RecursionError, LookupError, TypeError):
        content = 0
    if content is not None and not isinstance(content, str):
        raise WorkError(
            "the answer is not what an OpenAI-compatible endpoint sends: it has no choices[0].message.content",
            where=endpoint.url,
        )
    return content or ""


def _message(response: Any) -> str:
    """What the server says is wrong, on one line."""
    try:
        error = response.json()["error"]
        said = error["message"] if isinstance(error, dict) else error
    except (ValueError, RecursionError, LookupError, TypeError):
        said = response.text
    return " ".join(str(said).split())[:200] or "it does not say why"


def _asked_to_wait(response: Any) -> float:
    try:
        return float(response.headers.get("retry-after", 0))
    except ValueError:  # a date
        return 0.0
