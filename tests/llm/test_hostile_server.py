"""A server that is wrong or hostile costs a bounded amount of time and memory, gets no key that is not its own, and leaks none."""

import base64
import codecs
import gzip
import html
import json
import logging
import pickle
import socket
import time
import tracemalloc
import urllib.parse
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy

from rivega_spacy.llm.base import Answer, ChatRequest
from rivega_spacy.llm.openai_chat import OpenAIChat, make_openai_chat
from rivega_spacy.llm.secrets import redact
from rivega_spacy.post.errors import RivegaError

from .servers import FaultProxy, RawServer, completion

KEY = "sk-test+0123456789/abcdef=&<secret>"
GOOD = json.dumps(completion("A bridge.")).encode()


def reply(data: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(data)}", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def ask_once(server: Any, request: ChatRequest, **options: Any) -> Answer:
    options = {"timeout": 60.0, "sleep": lambda seconds: None, **options}
    chat = OpenAIChat("m", base_url=server.url, **options)
    try:
        return chat.submit([request])[0].result(60)
    finally:
        chat.close()


def drip(connection: socket.socket, data: bytes, server: RawServer) -> None:
    for place in range(len(data)):
        connection.sendall(data[place : place + 1])
        if server.closing.wait(0.05):
            return


@pytest.mark.parametrize("part", ["head", "blanks", "answer"])
@pytest.mark.slow
def test_a_reply_that_drips_has_a_total_limit_of_time(part: str, ask: Callable[..., ChatRequest]) -> None:
    def respond(connection: socket.socket, number: int) -> None:
        if part == "head":
            drip(connection, b"HTTP/1.1 200 OK\r\nx-" + b"a" * 10_000, server)
        elif part == "blanks":
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n")
            drip(connection, b" " * 10_000, server)
        else:
            connection.sendall(reply(GOOD)[: -len(GOOD)])
            drip(connection, GOOD, server)

    with RawServer(respond) as server:
        began = time.monotonic()
        # Each byte comes in time; the whole does not.
        answer = ask_once(server, ask(), timeout=60.0, total_timeout=1.5)
        # The drip would last for minutes.
        assert time.monotonic() - began < 60
    assert answer.text is None and "total_timeout" in answer.error and len(server.requests) == 1


def test_a_slow_reply_within_the_limits_is_read(ask: Callable[..., ChatRequest]) -> None:
    def respond(connection: socket.socket, number: int) -> None:
        data = reply(GOOD)
        for place in range(0, len(data), 60):
            connection.sendall(data[place : place + 60])
            time.sleep(0.02)

    with RawServer(respond) as server:
        assert ask_once(server, ask(), total_timeout=60.0).text == "A bridge."


def endless(connection: socket.socket, number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    block = b" " * (1 << 16)
    while True:
        connection.sendall(b"%x\r\n%s\r\n" % (len(block), block))


def blanks_in_gzip(connection: socket.socket, number: int) -> None:
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * (1 << 20)
    # After a full flush nothing is remembered: every further megabyte has the same bytes.
    first, again = (pack.compress(block) + pack.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    data = first + again * 299
    connection.sendall(reply(data, "content-encoding: gzip"))


def gzip_of_nothing(connection: socket.socket, number: int) -> None:
    """Empty blocks: many bytes that unpack to none."""
    connection.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: deflate\r\nconnection: close\r\n\r\n\x78\x9c"
    )
    while True:
        connection.sendall(b"\x00\x00\x00\xff\xff" * 10_000)


def large_error(connection: socket.socket, number: int) -> None:
    connection.sendall(b"HTTP/1.1 500 Oops\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n")
    while True:
        connection.sendall(b"x" * (1 << 16))


def said_to_be_huge(connection: socket.socket, number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10000000000\r\n\r\n")
    while True:
        connection.sendall(b" " * (1 << 16))


@pytest.mark.parametrize("respond", [endless, blanks_in_gzip, gzip_of_nothing, large_error, said_to_be_huge])
def test_a_reply_has_a_limit_of_size_also_when_it_is_compressed(respond: Any, ask: Callable[..., ChatRequest]) -> None:
    with RawServer(respond) as server:
        # What the first question imports and opens does not count.
        with FaultProxy() as warm:
            ask_once(warm, ask())
        tracemalloc.start()
        answer = ask_once(server, ask(), timeout=60.0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answer.text is None and "bytes" in answer.error and len(server.requests) == 1
    # Of the server's own part, in this very process, the packed blanks and a block are in it.
    assert peak < 12 << 20


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP", "identity"])
def test_a_compressed_reply_is_read(encoding: str, ask: Callable[..., ChatRequest]) -> None:
    data = GOOD if encoding == "identity" else zlib.compress(GOOD) if encoding == "deflate" else gzip.compress(GOOD)
    with RawServer(lambda connection, number: connection.sendall(reply(data, f"content-encoding: {encoding}"))) as server:
        assert ask_once(server, ask()).text == "A bridge."
    assert b"accept-encoding: gzip, deflate\r\n" in server.requests[0].lower()


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x" * 5000])
def test_an_encoding_that_was_not_asked_for_is_named(encoding: str, ask: Callable[..., ChatRequest]) -> None:
    with RawServer(lambda connection, number: connection.sendall(reply(b"???", f"content-encoding: {encoding}"))) as server:
        answer = ask_once(server, ask())
    assert answer.text is None and "not asked for" in answer.error and len(answer.error) < 200 and len(server.requests) == 1


@pytest.mark.parametrize(
    "data",
    [b"[" * 900_000, b'{"a":' * 100_000, b"\xff\xfe\x00", b"null", b"[]", b"3", b'"words"', b'{"choices": [[]]}', b'{"choices": {"0": 1}}',
     b'{"choices": [{"message": {"content": {"a": 1}}}]}', b'{"choices": [{"message": "x"}], "usage": "much", "error": []}',
     b'{"choices": [{"message": {"content": "x", "refusal": 7}, "finish_reason": {"a": 1}, "logprobs": 3}], "usage": {"prompt_tokens": 1e400}}'],
    ids=range(12),
)  # fmt: skip
def test_garbage_of_every_kind_ends_in_a_reason_or_an_answer(data: bytes, ask: Callable[..., ChatRequest]) -> None:
    with RawServer(lambda connection, number: connection.sendall(reply(data))) as server:
        answer = ask_once(server, ask(), max_retries=1)
    assert (answer.text == "x" or (answer.text is None and answer.error)) and len(server.requests) <= 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.slow
def test_a_redirect_to_another_server_is_not_followed(
    status: int, ask: Callable[..., ChatRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultProxy() as other:
        # The same machine under another name, and another port under the same.
        for target in (
            other.url.replace("127.0.0.1", "localhost"),
            other.url,
            "//evil.example/v1",
            "http://[",
            "file:///etc/passwd",
        ):
            answer_of = reply(b"", f"location: {target}/chat/completions", status=f"{status} Moved")
            with RawServer(lambda connection, number: connection.sendall(answer_of)) as server:
                answer = ask_once(server, ask())
            assert answer.text is None and "base_url" in answer.error and len(server.requests) == 1
    assert other.requests == []


def test_a_redirect_within_the_server_is_followed_and_a_loop_ends(ask: Callable[..., ChatRequest]) -> None:
    def respond(connection: socket.socket, number: int) -> None:
        moved = reply(b"", "location: /v1/chat/completions/", status="307 Temporary Redirect")
        connection.sendall(moved if number == 0 else reply(GOOD))

    with RawServer(respond) as server:
        assert ask_once(server, ask()).text == "A bridge."
    assert len(server.requests) == 2 and server.requests[1].startswith(b"POST /v1/chat/completions/ ")
    with RawServer(lambda connection, number: connection.sendall(reply(b"", "location: /v1/x", status="308 Moved"))) as server:
        answer = ask_once(server, ask(), max_retries=1)
    assert answer.text is None and "redirects" in answer.error and len(server.requests) <= 10


SPELLINGS = {
    "plain": KEY,
    "capitals": KEY.upper(),
    "URL": urllib.parse.quote(KEY, safe=""),
    "form": urllib.parse.quote_plus(KEY),
    "HTML": html.escape(KEY),
    "JSON": json.dumps(KEY)[1:-1],
    "base64": base64.b64encode(KEY.encode()).decode(),
    "basic": base64.b64encode(f"user:{KEY}".encode()).decode(),
    "bearer in base64": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    "URL-safe base64": base64.urlsafe_b64encode(f":{KEY}".encode()).decode(),
    "hexadecimal": KEY.encode().hex(),
    "backwards": KEY[::-1],
    "base32": base64.b32encode(f"user:{KEY}".encode()).decode(),
    "base85": base64.b85encode(KEY.encode()).decode(),
    "rot13": codecs.encode(KEY, "rot13"),
    "twice base64": base64.b64encode(base64.b64encode(KEY.encode())).decode(),
    "UTF-16 in base64": base64.b64encode(KEY.encode("utf-16-le")).decode(),
    "escapes": "".join(f"\\u{ord(sign):04x}" for sign in KEY),
    "every byte for URLs": "".join(f"%{byte:02x}" for byte in KEY.encode()),
    "entities": "".join(f"&#{byte};" for byte in KEY.encode()),
    "pairs": KEY.encode().hex(":"),
    "numbers": ", ".join(map(str, KEY.encode())),
    "letters apart": " ".join(KEY),
    "two lines": f"{KEY[:14]}\r\n    {KEY[14:]}",
    "lines that are escaped": "\\n".join(KEY[place : place + 9] for place in range(0, len(KEY), 9)),
    "strings that are joined": f'{KEY[:12]}" + "{KEY[12:]}',
    "base64 in lines": "\n".join(base64.b64encode(KEY.encode()).decode()[place : place + 16] for place in range(0, 60, 16)),
    "hexadecimal in lines": "\n".join(KEY.encode().hex()[place : place + 16] for place in range(0, 80, 16)),
    "quoted-printable": "".join(f"={byte:02X}" for byte in KEY.encode()),
    "octal escapes": "".join(f"\\{byte:03o}" for byte in KEY.encode()),
    "JSON with slashes escaped": KEY.replace("/", "\\/"),
    "JSON in JSON": json.dumps(json.dumps(KEY))[3:-3],
    "quoted twice": urllib.parse.quote(urllib.parse.quote(KEY, safe=""), safe=""),
    "small letters": KEY.lower(),
    "bytes of Python": repr(KEY.encode()),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_a_key_is_blanked_however_a_server_spells_it(
    spelling: str, ask: Callable[..., ChatRequest], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    error = json.dumps({"error": {"message": f"No such key: {spelling}!", "code": spelling, "type": spelling}}).encode()
    refusal = completion(None)
    refusal["choices"][0]["message"]["refusal"] = f"not with {spelling}"
    replies = [
        reply(json.dumps(completion(f"Your key is {spelling}!")).encode()),
        reply(error, status="400 Bad"),
        reply(error),
        reply(json.dumps(refusal).encode()),
        reply(b"", f"location: http://evil.example/{urllib.parse.quote(spelling)}", status="307 Moved"),
        reply(b"", f"location: http://{urllib.parse.quote(spelling)}.evil.example/", status="307 Moved"),
    ]
    with RawServer(lambda connection, number: connection.sendall(replies[number])) as server:
        chat = OpenAIChat("m", base_url=server.url, api_key_env="MY_KEY", concurrency=1, max_retries=0)
        found = [future.result(30) for future in chat.submit([ask(f"q{n}") for n in range(len(replies))])]
        chat.close()
    # What of the key is in the spelling, but for characters that it shares with what stands before it.
    core = spelling[8:-6]
    for text in [
        *map(repr, found),
        *(answer.text or answer.error for answer in found),
        caplog.text,
        pickle.dumps(chat).decode("latin1"),
    ]:
        assert core.lower() not in text.lower() and KEY not in text
    assert found[0].text is not None and "[key]" in found[0].text and "[key]" in found[1].error


def test_what_is_no_key_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The bridge of Sydney, built in 1932; its keys are lost."
    assert redact(text, KEY) == text


def build(**options: Any) -> OpenAIChat:
    return make_openai_chat("m", max_retries=0, **options)


def keys_seen(server: FaultProxy) -> list[str]:
    return [headers["authorization"] for headers in server.headers]


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "DATABASE_PASSWORD", "MY_KEY"])
@pytest.mark.slow
def test_a_config_cannot_send_any_variable_of_the_environment_to_its_own_server(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, KEY)
    with FaultProxy() as server:
        with pytest.raises(RivegaError, match=f"RIVEGA_KEY_CONSENT={name}@127.0.0.1") as caught:
            build(base_url=server.url, api_key_env=name)
        assert KEY not in str(caught.value)
        # A pipeline folder that names them fails when it is loaded, before a post is read.
        config = spacy.blank("rivega").config.copy()
        config["nlp"]["pipeline"] = ["rivega_knowledge"]
        model = {"@misc": "rivega.OpenAIChat.v1", "model": "m", "base_url": server.url, "api_key_env": name}
        config["components"] = {
            "rivega_knowledge": {"factory": "rivega_knowledge", "model": model, "examples": {"@misc": "rivega.NoExamples.v1"}}
        }
        with pytest.raises(RivegaError, match="RIVEGA_KEY_CONSENT"):
            spacy.util.load_model_from_config(config, auto_fill=True)
    assert server.requests == []


@pytest.mark.parametrize("form", ["{name}@{host}:{port}", "{name}@{host}", "OTHER@elsewhere, {name}@{host}"])
def test_with_the_users_consent_it_is_sent(form: str, ask: Callable[..., ChatRequest], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with FaultProxy() as server:
        place = urllib.parse.urlsplit(server.url)
        monkeypatch.setenv("RIVEGA_KEY_CONSENT", form.format(name="MY_KEY", host=place.hostname, port=place.port))
        chat = build(base_url=server.url, api_key_env="MY_KEY")
        assert chat.submit([ask()])[0].result(30).text == "A plain answer."
        chat.close()
        for other in (f"MY_KEY@{place.hostname}:1", "MY_KEY@example.com", "YOUR_KEY@127.0.0.1", "MY_KEY", "*"):
            monkeypatch.setenv("RIVEGA_KEY_CONSENT", other)
            with pytest.raises(RivegaError):
                build(base_url=server.url, api_key_env="MY_KEY")
    assert keys_seen(server) == [f"Bearer {KEY}"]


def test_well_known_keys_go_to_this_machine_and_to_their_owners(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[..., ChatRequest]
) -> None:
    from rivega_spacy.llm.secrets import withheld

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultProxy() as server:
        chat = build(base_url=server.url)
        assert chat.submit([ask()])[0].result(30).text == "A plain answer."
        chat.close()
    assert keys_seen(server) == [f"Bearer {KEY}"]
    for name, url, sent in [
        ("OPENAI_API_KEY", None, True),
        ("OPENAI_API_KEY", "https://eu.api.openai.com/v1", True),
        ("OPENAI_API_KEY", "https://openai.com.evil.example/v1", False),
        ("OPENAI_API_KEY", "https://notopenai.com/v1", False),
        ("OPENAI_API_KEY", "http://gpu01:8000/v1", False),
        ("OPENROUTER_API_KEY", "https://openrouter.ai/api/v1", True),
        ("VLLM_API_KEY", "http://[::1]:8000/v1", True),
        ("VLLM_API_KEY", "http://localhost.evil.example/v1", False),
        ("HF_TOKEN", "https://api.openai.com/v1", False),
    ]:
        assert (withheld(name, url) == "") is sent, (name, url)


def test_a_configs_server_gets_nothing_else_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[..., ChatRequest]
) -> None:
    """The package sends what these name to whatever server it is given."""
    names = (
        "OPENAI_ADMIN_KEY",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_CUSTOM_HEADERS",
        "OPENAI_WEBHOOK_SECRET",
        "AWS_SECRET_ACCESS_KEY",
    )
    for name in names:
        monkeypatch.setenv(name, f"x-gateway: hidden-{name}" if "HEADERS" in name else f"hidden-{name}")
    monkeypatch.setenv("RIVEGA_API_KEY", KEY)
    with FaultProxy() as server:
        chat = build(base_url=server.url, api_key_env="RIVEGA_API_KEY")
        assert chat.submit([ask()])[0].result(30).text == "A plain answer."
        chat.close()
    assert keys_seen(server) == [f"Bearer {KEY}"] and "hidden" not in repr(server.headers)


@pytest.mark.parametrize("extra", [{"stream": True}, {"n": 3}])
def test_settings_that_would_be_paid_for_in_vain_are_refused(extra: Any) -> None:
    with pytest.raises(RivegaError, match=f"extra.{next(iter(extra))}"):
        build(base_url="http://localhost:8000/v1", extra=extra)


def test_a_key_that_is_held_back_is_named_where_the_server_wants_one(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[..., ChatRequest], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultProxy(script=["pass", "401"]) as server:
        place = urllib.parse.urlsplit(server.url)
        # Another machine, for all that the client knows.
        monkeypatch.setattr("rivega_spacy.llm.secrets._is_this_machine", lambda host: False)
        chat = build(base_url=server.url, concurrency=1)
        open_server, closed_server = [future.result(30) for future in chat.submit([ask("a"), ask("b")])]
        chat.close()
    assert open_server.text == "A plain answer." and "401" in closed_server.error
    assert f"RIVEGA_KEY_CONSENT=OPENAI_API_KEY@{place.netloc}" in closed_server.error
    assert not any(KEY in key for key in keys_seen(server)) and "was not sent" in caplog.text
