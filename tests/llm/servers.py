"""Servers for tests and benchmarks: a faulty proxy of ours, and a real OpenAI-compatible server that we did not write."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answerer = Callable[[dict[str, Any]], str | dict[str, Any]]


def completion(text: str | None, *, finish: str = "stop", prompt_tokens: int = 11, completion_tokens: int = 7) -> dict[str, Any]:
    """A reply as the protocol has it."""
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


class FaultProxy:
    """A server with faults by script, in front of a real one or answering by itself.

    answer (Optional[Answerer]): From the request's body to an answer's text, or to a whole reply; used where there is no upstream.
    upstream (Optional[str]): Address of a real server, "http://127.0.0.1:1234/v1".
    script (List[str]): What happens to the first requests, one word each; later ones pass. Words: "pass", "429", "429 SECONDS" (with
        Retry-After), "500", "STATUS", "stall" (no byte until the proxy is closed), "cut" (half a reply, then the connection ends),
        "drop" (the connection ends at once), "garbage" (200, no JSON), "html" (200, an error page), "empty" (200, {}), "null"
        (a reply without text), "echo" (the Authorization header as the answer), "leak" (an error that quotes it), "nologprobs" (a
        refusal to give probabilities).
    """

    def __init__(self, answer: Answerer | None = None, *, upstream: str | None = None, script: list[str] | None = None) -> None:
        self.answer = answer if answer is not None else lambda body: "A plain answer."
        self.upstream = upstream
        self.script = list(script or [])
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.active = self.most_active = 0
        self.hold: threading.Event | None = None
        self.lock = threading.Lock()
        self.closing = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                """Quiet."""

            def do_POST(self) -> None:
                proxy.handle(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, address: Any) -> None:
                """Cut connections are what this server is for."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def __enter__(self) -> "FaultProxy":
        return self

    def __exit__(self, *error: Any) -> None:
        self.closing.set()
        if self.hold is not None:
            self.hold.set()
        self.server.shutdown()
        self.server.server_close()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        data = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        body = json.loads(data)
        with self.lock:
            self.requests.append(body)
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            word = self.script.pop(0) if self.script else "pass"
            self.active += 1
            self.most_active = max(self.most_active, self.active)
        try:
            if self.hold is not None:
                self.hold.wait(60)
            self._reply(handler, word, body, data)
        finally:
            with self.lock:
                self.active -= 1

    def _reply(self, handler: BaseHTTPRequestHandler, word: str, body: dict[str, Any], data: bytes) -> None:
        key = handler.headers.get("authorization", "")
        status, _, seconds = word.partition(" ")
        if word == "pass":
            self._send(handler, *self._pass(handler, body, data))
        elif status.isdigit():
            headers = {"Retry-After": seconds} if seconds else {}
            error = {"error": {"message": f"scripted {status}", "code": "scripted"}}
            self._send(handler, int(status), json.dumps(error).encode(), headers)
        elif word == "stall":
            self.closing.wait(60)
            handler.close_connection = True
        elif word == "nologprobs":
            error = {"error": {"message": "This model does not support logprobs.", "code": "unsupported_parameter"}}
            self._send(handler, 400, json.dumps(error).encode())
        elif word in ("cut", "drop"):
            if word == "cut":
                handler.send_response(200)
                handler.send_header("content-type", "application/json")
                handler.send_header("content-length", "1000")
                handler.end_headers()
                handler.wfile.write(b'{"choices": [{"mess')
                handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
        elif word == "leak":
            error = {"error": {"message": f"Incorrect API key provided: {key}", "code": "invalid_api_key"}}
            self._send(handler, 401, json.dumps(error).encode())
        elif word == "html":
            self._send(handler, 200, b"<html><body>Bad gateway</body></html>", {"content-type": "text/html"})
        else:
            replies = {"garbage": b'{"choices": [{"mess\x00\xff', "empty": b"{}", "null": json.dumps(completion(None)).encode()}
            replies["echo"] = json.dumps(completion(f"Your key is {key}.")).encode()
            self._send(handler, 200, replies[word])

    def _pass(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], data: bytes) -> tuple[int, bytes]:
        if self.upstream is None:
            answer = self.answer(body)
            return 200, json.dumps(answer if isinstance(answer, dict) else completion(answer)).encode()
        address = self.upstream + handler.path.removeprefix("/v1")
        request = urllib.request.Request(address, data=data, headers={"content-type": "application/json"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        handler.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


class Unavailable(RuntimeError):
    """The real server cannot be had here; its text says why."""


REQUIREMENT = "transformers[serving]>=5,<6"


def server_python() -> Path:
    """Python of an environment of its own with version 5 of transformers; made once, under the user's cache folder.

    PyTorch and whatever else is the same is taken from the environment that runs the tests, through a .pth file.

    RAISES (Unavailable): Where it cannot be installed.
    """
    cache = Path(os.environ.get("RIVEGA_TEST_CACHE") or Path.home() / ".cache" / "rivega_spacy_tests")
    mark = hashlib.sha256(f"{sys.prefix}:{sys.version}:{REQUIREMENT}".encode()).hexdigest()[:12]
    folder = cache / f"serve-{mark}"
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        import torch

        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, timeout=120)
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "zz_tests_environment.pth").write_text(sysconfig.get_path("purelib") + "\n")
        constraints = folder / "constraints.txt"
        constraints.write_text(f"torch=={torch.__version__.split('+')[0]}\n")
        command = [str(python), "-m", "pip", "install", "-q", "-c", str(constraints), REQUIREMENT]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        raise Unavailable(f"an environment with {REQUIREMENT} could not be made: {error}") from error
    if done.returncode:
        raise Unavailable(f"{REQUIREMENT} could not be installed: {done.stderr.strip()[-300:]}")
    (folder / "ready").write_text("")
    return python


class RealServer:
    """`transformers serve` with one model, on a free loopback port."""

    def __init__(self, model: Path, log: Path) -> None:
        python = server_python()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.model = str(model)
        self.url = f"http://127.0.0.1:{port}/v1"
        (log.parent / "hub").mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(log.parent),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        # By its entry point: where the tests' own environment has version 5, nothing was installed, and there is no script beside Python.
        command = [
            str(python),
            "-c",
            "from importlib.metadata import entry_points as all; (it,) = all(group='console_scripts', name='transformers'); it.load()()",
            "serve",
            self.model,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--device",
            "cpu",
        ]
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command, env=environment, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        try:
            self._wait(f"http://127.0.0.1:{port}/health")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait(self, address: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(600):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended: {self.log.read_text(errors='replace')[-2000:]}")
            try:
                with opener.open(address, timeout=10) as reply:
                    if reply.status == 200:
                        return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"the server does not answer: {self.log.read_text(errors='replace')[-2000:]}")


TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


def tiny_tokenizer() -> Any:
    """A byte-level tokenizer of 600 pieces with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>", "</s>", "<pad>", "<image>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    words = "the picture shows a person with a dog in the city which named entities does the text mention and why question answer"
    tokenizer.train_from_iterator([words] * 5, trainer)
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "additional_special_tokens": ["<image>"]}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    fast.chat_template = TEMPLATE
    return fast


def llama_config(size: int, **options: Any) -> Any:
    """Of a network so small that it answers in milliseconds."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        **options,
    )


def save_tiny_llama(folder: Path) -> Path:
    """A random Llama with its tokenizer, saved in a folder."""
    import torch
    from transformers import LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(llama_config(len(tokenizer)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class RawServer:
    """A server that answers with whatever bytes a test wants, as fast or slow as it wants.

    respond (Callable[[socket.socket, int], None]): Gets the connection once a request was read whole, and the request's number from 0.
    """

    def __init__(self, respond: Callable[[socket.socket, int], None]) -> None:
        self.respond = respond
        self.requests: list[bytes] = []
        self.closing = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"

    def __enter__(self) -> "RawServer":
        return self

    def __exit__(self, *error: Any) -> None:
        self.closing.set()
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                head = b"".join(iter(stream.readline, b"\r\n"))
                if not head:
                    return
                length = next(
                    int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                )
                self.requests.append(head + b"\r\n" + stream.read(length))
                self.respond(connection, len(self.requests) - 1)
        except OSError:
            # The client had enough.
            return
