"""A model host inside this process: llama.cpp's own HTTP server, with a GGUF file of yours."""

from __future__ import annotations

import atexit
import re
import secrets
import time
from dataclasses import asdict, dataclass
from importlib import import_module
from os import PathLike
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

import httpx
from typing_extensions import Self

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.hosts import Host

_IDLE_POLL_SECONDS = 0.01
_TOKENIZE_SECONDS = 30.0
_SILENT = 0


class Embedded:
    """Serves one GGUF model over an OpenAI-compatible API on a free port of this machine, inside this process.

    Pass it as `host=` to a guard or a model: the first call starts it, and it stops with the process, or when `close`
    is called. Or use it in a `with` block, and point any client at `base_url` with `api_key` and `model`. Objects for
    the same file, name and settings share one server. Starting blocks until the model is loaded: 20 ms for a few
    megabytes, 0.2 s for a hundred, seconds for gigabytes; call `start` beforehand where an event loop must not wait.
    It needs `pip install "llama-guardrails[embedded]"`.

    The host judges nothing by itself and guards nothing: that depends on the model it is given. A guard is asked with
    the published prompt of its version, written by us; the template in the file is not used. llama.cpp cannot load
    Llama Guard 4; bring a GGUF file of another, such as Llama Guard 3, of any quantisation. It reads no images.

    Args:
        model_path: the GGUF file.
        model: the name the host answers to; the file's name without its ending unless given. A guard is told its
            version by it.
        context_tokens: how long a request and its reply may be together, in tokens. A longer request is
            rejected with status 400.
        parallel: how many requests are worked on at once; others wait. Memory grows with
            `parallel * context_tokens`.
        threads: processor threads for inference. More than one makes it slower wherever another
            process uses the processor too, because every step waits for the slowest thread.

    Attributes:
        model: the name the host answers to.

    Example:
        ```python
        guard = LlamaGuard(host=Embedded("Llama-Guard-3-1B.Q4_K_M.gguf"))
        ```
    """

    def __init__(
        self,
        model_path: str | PathLike[str],
        *,
        model: str | None = None,
        context_tokens: int = 8192,
        parallel: int = 2,
        threads: int = 1,
    ) -> None:
        self.model = model or Path(model_path).stem
        self._settings = _Settings(Path(model_path).absolute(), self.model, context_tokens, parallel, threads)
        self._server: _Server | None = None
        self._lock = Lock()

    @property
    def host(self) -> Host:
        """What is true of it as a host."""
        return Host(
            name=f"llama.cpp ({self._settings.model_path.name}, embedded)",
            base_url=f"embedded:{self._settings.model_path}",
            guard_model=self.model,
            chat_model=self.model,
            guard_endpoint="completions",
            raw_endpoint="completions",
            logprobs="openai",
            takes_template_arguments=True,
            server=self,
        )

    @property
    def base_url(self) -> str:
        """Where the host listens, such as `http://127.0.0.1:40197/v1`.

        Raises:
            ConfigurationError: if the host is not running.
        """
        return self._running.base_url

    @property
    def api_key(self) -> str:
        """The server's random key; requests without it are answered with status 401.

        Raises:
            ConfigurationError: if the host is not running.
        """
        return self._running.api_key

    @property
    def adds_bos(self) -> bool:
        """Whether it begins each prompt with the model's begin-of-text token by itself.

        Raises:
            ConfigurationError: if the host is not running.
        """
        return self._running.adds_bos

    @property
    def is_running(self) -> bool:
        """Whether it has been started, and not closed since."""
        return self._server is not None

    @property
    def _running(self) -> _Server:
        if self._server is None:
            msg = "the embedded host is not running: use it in a `with` block, or call start() first"
            raise ConfigurationError(msg)
        return self._server

    def start(self) -> Self:
        """Load the model and listen; nothing happens if it is running already.

        Raises:
            ConfigurationError: if llama.cpp is not installed, or the model cannot be loaded.
        """
        with self._lock:
            if self._server is None:
                self._server = _shared_server(self._settings)
        return self

    def close(self) -> None:
        """Stop listening and free the model, unless another object still uses it.

        It waits for the requests still being worked on. A request whose client has given up counts too: it runs to its
        `max_tokens`. Send no new requests from other threads meanwhile.
        """
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            _release(server)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, in another process perhaps, starts a server of its own, or shares one that runs there."""
        return _made_again, (type(self), self._settings)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.model_path.name!r}, model={self.model!r})"


@dataclass(frozen=True, slots=True)
class _Settings:
    model_path: Path
    model: str
    context_tokens: int
    parallel: int
    threads: int


class _Server:
    """A running server, and how many use it."""

    def __init__(self, settings: _Settings) -> None:
        self.settings = settings
        self.users = 0
        self.api_key = secrets.token_urlsafe(24)
        self._server = _serve(_llama_cpp(), settings, self.api_key)
        self.base_url = f"{self._server.listening_address}/v1"
        self.adds_bos = self._adds_bos()

    def stop(self) -> None:
        # llama.cpp's server must be idle when it is dropped. With a request in hand it waits for that client to
        # hang up, holding the interpreter's lock, so that a client in this process never could. And before its
        # working thread runs, which may be after its start has returned, it would wait for ever: an answer about
        # its work shows that the thread is there.
        while _is_busy(self._server):
            time.sleep(_IDLE_POLL_SECONDS)
        self._server = None

    def _adds_bos(self) -> bool:
        """Files differ in it: without a word about it in the file, llama.cpp decides by the kind of tokenizer."""
        told = httpx.post(
            f"{self._server.listening_address}/tokenize",
            json={"content": "", "add_special": True},
            headers={"authorization": f"Bearer {self.api_key}"},
            timeout=_TOKENIZE_SECONDS,
            trust_env=False,
        )
        return bool(told.json().get("tokens"))


_servers: dict[_Settings, _Server] = {}
_servers_lock = Lock()


def _shared_server(settings: _Settings) -> _Server:
    with _servers_lock:
        server = _servers.get(settings)
        if server is None:
            server = _servers[settings] = _Server(settings)
        server.users += 1
        return server


def _release(server: _Server) -> None:
    with _servers_lock:
        server.users -= 1
        if server.users > 0:
            return
        _servers.pop(server.settings, None)
    server.stop()


@atexit.register
def _stop_all() -> None:
    """What nobody has closed stops with the process; llama.cpp would wait for ever if it were only dropped."""
    with _servers_lock:
        servers = [*_servers.values()]
        _servers.clear()
    for server in servers:
        server.stop()


def _made_again(kind: type[Embedded], settings: _Settings) -> Embedded:
    return kind(**asdict(settings))


def _serve(llama_cpp: Any, settings: _Settings, api_key: str) -> Any:
    if not settings.model_path.is_file():
        msg = f"there is no model file at {settings.model_path}"
        raise ConfigurationError(msg)
    try:
        return llama_cpp.Server(_parameters(llama_cpp, settings, api_key))
    except RuntimeError as error:
        msg = f"llama.cpp could not load {settings.model_path}: is it a whole GGUF file of an architecture it knows?"
        raise ConfigurationError(msg) from error


def _parameters(llama_cpp: Any, settings: _Settings, api_key: str) -> Any:
    parameters = llama_cpp.CommonParams()
    parameters.model.path = str(settings.model_path)
    parameters.model_alias = {settings.model}
    parameters.api_keys = [api_key]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_parallel = settings.parallel
    parameters.n_ctx = settings.context_tokens * settings.parallel  # llama.cpp divides it among the slots
    parameters.cpuparams.n_threads = settings.threads
    parameters.cpuparams_batch.n_threads = settings.threads
    parameters.use_jinja = True
    # By default a last message of the assistant is taken for the start of the reply and continued,
    # so that a guard asked about it repeats it with status 200 instead of judging it.
    parameters.prefill_assistant = False
    parameters.ctx_shift = False  # it would drop the beginning of what is judged, and go on
    parameters.fit_params = False  # it would load the model twice, to see whether the context fits
    parameters.cache_ram_mib = 0  # the default keeps up to 8 GiB of earlier prompts
    parameters.endpoint_slots = False  # it would show the prompts being worked on
    parameters.endpoint_metrics = True  # `_is_busy` reads them
    parameters.ui = False
    parameters.verbosity = _SILENT
    return parameters


def _llama_cpp() -> Any:
    try:
        return import_module("xllamacpp")
    except ImportError as error:
        msg = 'the embedded host needs llama.cpp: pip install "llama-guardrails[embedded]"'
        raise ConfigurationError(msg) from error


def _is_busy(server: Any) -> bool:
    counts = re.findall(r"^llamacpp:requests_(?:processing|deferred) (\d+)", server.handle_metrics(), re.MULTILINE)
    return any(int(count) for count in counts)
