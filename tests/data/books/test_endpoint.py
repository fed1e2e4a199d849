"""An OpenAI-compatible endpoint, played by a server on this machine."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tunesmith.data.books.endpoint import Endpoint, asking
from tunesmith.data.books.questions import Refused
from tunesmith.errors import InputError, WorkError

MESSAGES = [{"role": "user", "content": "为什么？"}]
REPLY = {"choices": [{"message": {"role": "assistant", "content": "Because."}}]}


class Stand:
    """A server that gives its answers (status, headers, body) in turn, the last one for ever."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.requests: list[dict] = []
        stand = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                stand.requests.append(
                    {"path": self.path, "key": self.headers["authorization"], **json.loads(body)}
                )
                status, headers, content = stand.answers[min(len(stand.requests), len(stand.answers)) - 1]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Stand:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def ask(stand: Stand, **options) -> tuple[str, list[float]]:
    waits: list[float] = []
    return asking(Endpoint(stand.url, "clock-1", **options), sleep=waits.append)(MESSAGES), waits


def test_it_is_asked_as_openai_is_with_the_key():
    with Stand((200, {}, REPLY)) as stand:
        reply, waits = ask(stand, key="sk-secret", temperature=0.2, max_tokens=9, seed=3)
    assert (reply, waits) == ("Because.", [])
    assert stand.requests == [
        {
            "path": "/v1/chat/completions",
            "key": "Bearer sk-secret",
            "model": "clock-1",
            "messages": MESSAGES,
            "temperature": 0.2,
            "max_tokens": 9,
            "seed": 3,
        }
    ]


def test_a_busy_server_is_waited_for_longer_and_longer_or_as_long_as_it_says():
    busy = (503, {}, b"")
    with Stand(
        busy, busy, (429, {"retry-after": "30"}, {"error": {"message": "slow down"}}), (200, {}, REPLY)
    ) as stand:
        reply, waits = ask(stand)
    assert (reply, waits) == ("Because.", [1.0, 2.0, 30.0])


def test_a_server_that_stays_busy_is_given_up_with_what_it_says():
    with Stand((500, {}, {"error": {"message": "out of\nclocks"}})) as stand:
        with pytest.raises(WorkError, match=r"gave up after 3 tries.*status 500: out of clocks"):
            ask(stand, tries=3)
        assert len(stand.requests) == 3


def test_nobody_there_is_told():
    with Stand((200, {}, REPLY)) as stand:
        pass
    with pytest.raises(WorkError, match="does not answer"):
        ask(stand, tries=2)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ((401, {}, {"error": "no"}), InputError, "--key-env"),
        ((404, {}, b"<html>"), InputError, "status 404: <html>"),
        ((400, {}, {"error": {"message": "too long"}}), Refused, "refuses the prompt: too long"),
        ((200, {}, b"not JSON"), WorkError, "choices"),
        ((200, {}, b"[" * 100_000), WorkError, "choices"),
        ((200, {}, {"choices": []}), WorkError, "choices"),
        ((200, {}, {"choices": [{"message": {"content": 5}}]}), WorkError, "choices"),
        ((302, {"location": "http://example.invalid/"}, b""), InputError, "status 302"),
    ],
)
def test_other_answers_are_told_at_once_and_never_with_the_key(answer, error, words):
    with Stand(answer) as stand:
        with pytest.raises(error, match=words) as caught:
            ask(stand, key="sk-secret")
        assert len(stand.requests) == 1
    assert "sk-secret" not in str(caught.value)


def test_a_reply_without_text_is_empty():
    with Stand((200, {}, {"choices": [{"message": {"content": None}}]})) as stand:
        assert ask(stand)[0] == ""


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://x/v1",
        "http://",
        "http://[::1",
        "http://x:99999/v1",
        "",
        "http://me:pass@localhost/v1",
    ],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(InputError, match="--endpoint") as caught:
        asking(Endpoint(url, "m"))
    assert "me:pass" not in str(caught.value)


@pytest.mark.parametrize("key", ["", " ", "sk\nx", "钥匙"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(key):
    with pytest.raises(InputError, match="the key for the endpoint"):
        asking(Endpoint("http://localhost/v1", "m", key))


def test_the_key_is_not_shown():
    assert "sk-secret" not in repr(Endpoint("http://localhost/v1", "m", "sk-secret"))
