"""A real HTTP server on a local port that speaks (or misspeaks) the chat completions API."""

import json
import random
import select
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What the server sends back."""

    body: Any = None  # JSON value, or bytes as they are
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    pieces: tuple[str, ...] = ()  # sent as an event stream instead of a body
    pause_s: float = 0.0  # between the pieces
    usage: dict[str, int] = field(default_factory=dict)  # told after the pieces; {}: untold
    hangs_up: bool = False  # close the connection in the middle of the reply
    drops: bool = False  # close the connection without a word


def completion(text: str, **message: Any) -> dict[str, Any]:
    """A chat completion that says `text`."""
    choice = {
        "index": 0,
        "finish_reason": message.pop("finish_reason", "stop"),
        "message": {"role": "assistant", "content": text, **message},
    }
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "stub-1",
        "choices": [choice],
        "usage": {"prompt_tokens": 5, "completion_tokens": len((text or "").split())},
    }


def continuation(text: str, **fields: Any) -> dict[str, Any]:
    """What /completions answers: `text` goes on where the prompt ended."""
    choice = {"index": 0, "finish_reason": "stop", "text": text, **fields}
    return {"id": "x", "object": "text_completion", "model": "stub-1", "choices": [choice]}


def failure(status: int, message: str, **fields: Any) -> Answer:
    """An error as OpenAI-compatible servers send it."""
    return Answer({"error": {"message": message, **fields}}, status)


def echo(body: dict[str, Any]) -> Answer:
    """Answer with the prompt."""
    if "prompt" in body:
        return Answer(continuation(f" after {body['prompt']}"))
    return Answer(completion(f"Answer to: {body['messages'][-1]['content']}"))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512  # a burst of connections is not refused


class Faults:
    """A server that fails at random, the same way for the same seed, prompt and attempt.

    Args:
        seed: Of the chances.
        share: How often an attempt fails in one of the passing ways.
        stall_s: How long a stalling answer takes; longer than the teacher waits.
    """

    KINDS = ("drop", "cut", "429", "429 after", "500", "half", "stall", "schema")

    def __init__(self, seed: int, share: float = 0.25, stall_s: float = 30.0) -> None:
        self.seed = seed
        self.share = share
        self.stall_s = stall_s
        self.seen: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Answer:
        """The answer to a chat request, or one of `KINDS`."""
        prompt = body["messages"][-1]["content"]
        with self._lock:
            self._attempts[prompt] += 1
            chance = random.Random(f"{self.seed}/{prompt}/{self._attempts[prompt]}")
            is_faulty = chance.random() < self.share
            kind = self.lasting(prompt) or (chance.choice(self.KINDS) if is_faulty else "")
            self.seen[kind] += 1
        return self._answer(kind, body)

    def lasting(self, prompt: str) -> str:
        """What a prompt always meets: one in a hundred never gets an answer."""
        chance = random.Random(f"{self.seed}/{prompt}").random()
        return "too long" if chance < 0.008 else "500" if chance < 0.01 else ""

    def _answer(self, kind: str, body: dict[str, Any]) -> Answer:
        whole = json.dumps(echo(body).body).encode()
        limited = failure(429, "slow down")
        answers = {
            "": echo(body),
            "drop": Answer(drops=True),
            "cut": Answer(echo(body).body, hangs_up=True),
            "429": limited,
            "429 after": replace(limited, headers={"Retry-After": "0.1"}),
            "500": failure(500, "CUDA error: an illegal memory access"),
            "half": Answer(whole[: len(whole) // 2]),
            "stall": replace(echo(body), delay_s=self.stall_s),
            "schema": Answer({"choices": [{"message": {"content": ["no", "text"]}}]}),
            "too long": failure(400, "maximum context length is 512 tokens"),
        }
        return answers[kind]


class StubServer:
    """Counts what is asked; `behave(body) -> Answer` may be changed at any time."""

    def __init__(self, behave: Callable[[dict[str, Any]], Answer] = echo) -> None:
        self.behave = behave
        self.models = ["stub-1", "stub-2"]
        self.owner = "stub"  # "vllm": as vLLM answers when asked for its models
        self.about: dict[str, Any] = {}  # what else is said of each model
        self.paths: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.in_flight = self.most_in_flight = 0
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"stub": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def prompts(self) -> list[str]:
        """The last message of each request so far."""
        return [body["messages"][-1]["content"] for body in list(self.requests)]

    @contextmanager
    def counted(self, body: dict[str, Any], headers: dict[str, str]) -> Iterator[None]:
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            with self._lock:
                self.in_flight -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stub: StubServer

    def log_message(self, *args: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        self.stub.headers.append(self._lower())
        self.stub.paths.append(self.path)
        if self.path == "/v1/models":
            about = {"owned_by": self.stub.owner} | self.stub.about
            self._send(Answer({"data": [{"id": m} | about for m in self.stub.models]}))
        else:
            self._send(failure(404, "not found"))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.stub.paths.append(self.path)
        if self.path not in ("/v1/chat/completions", "/v1/completions"):
            self._send(failure(404, "no such page"))
            return
        with self.stub.counted(body, self._lower()):
            answer = self.stub.behave(body)
            has_gone = self._waits(answer.delay_s)
        if has_gone:
            self.close_connection = True
        else:
            self._send(answer)

    def _waits(self, delay_s: float) -> bool:
        """Wait; at once when the client hangs up, so that a stall holds no thread: then True."""
        if not delay_s:
            return False
        waiting = select.poll()
        waiting.register(self.connection, select.POLLIN | select.POLLHUP)
        return bool(waiting.poll(1000 * delay_s))

    def _lower(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _stream(self, answer: Answer) -> None:
        """The pieces as the chunks of a chat completion."""
        self.close_connection = True
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            chunk = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "stub-1"}
            chunks = [
                chunk | {"choices": [{"index": 0, "delta": {"content": piece}}]}
                for piece in answer.pieces
            ]
            if answer.usage:
                chunks.append(chunk | {"choices": [], "usage": answer.usage})
            for number, one in enumerate(chunks):
                if number and self._waits(answer.pause_s):
                    return
                self.wfile.write(f"data: {json.dumps(one)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            return  # the client has hung up

    def _send(self, answer: Answer) -> None:
        if answer.drops:
            self.close_connection = True
            return
        if answer.pieces:
            self._stream(answer)
            return
        is_raw = isinstance(answer.body, bytes)
        data = answer.body if is_raw else json.dumps(answer.body).encode()
        headers = {"Content-Type": "application/json"} | answer.headers
        headers["Content-Length"] = str(len(data) + 10 * answer.hangs_up)
        try:
            self.send_response(answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True
        if answer.hangs_up:
            self.close_connection = True
