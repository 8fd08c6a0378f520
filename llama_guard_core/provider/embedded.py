"""A model host inside this process: llama.cpp's own HTTP server, for demos, tests and offline work."""

from __future__ import annotations

import re
import secrets
import time
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from llama_guard_core.errors import ConfigurationError

_IDLE_POLL_SECONDS = 0.01
_SILENT = 0


class EmbeddedHost:
    """Serves one GGUF model over an OpenAI-compatible API on a free port of this machine.

    Use it in a `with` block, or call `start` and `close`; point a client at `base_url` with `api_key`
    and `model`. Starting blocks until the model is loaded, about 20 ms for a few megabytes and 0.2 s
    for a hundred. It needs `pip install "llama-guardrails[embedded]"`.

    The host judges nothing by itself and guards nothing: that depends on the model it is given.
    llama.cpp cannot load Llama Guard 4; bring a GGUF file of another, such as Llama Guard 3.

    Args:
        model_path: the GGUF file.
        model: the name the host answers to; the file's name without its ending unless given.
        context_tokens: how long a request and its reply may be together, in tokens. A longer request is
            rejected with status 400.
        parallel: how many requests are worked on at once; others wait. Memory grows with
            `parallel * context_tokens`.
        threads: processor threads for inference. More than one makes it slower wherever another
            process uses the processor too, because every step waits for the slowest thread.

    Attributes:
        model: the name the host answers to.
        api_key: a random key made for this object; requests without it are answered with status 401.
    """

    def __init__(
        self,
        model_path: str | PathLike[str],
        *,
        model: str | None = None,
        context_tokens: int = 4096,
        parallel: int = 2,
        threads: int = 1,
    ) -> None:
        self.model = model or Path(model_path).stem
        self.api_key = secrets.token_urlsafe(24)
        self._model_path = Path(model_path)
        self._context_tokens = context_tokens
        self._parallel = parallel
        self._threads = threads
        self._server: Any = None

    @property
    def base_url(self) -> str:
        """Where the host listens, such as `http://127.0.0.1:40197/v1`.

        Raises:
            ConfigurationError: if the host is not running.
        """
        if self._server is None:
            msg = "the embedded host is not running: use it in a `with` block, or call start() first"
            raise ConfigurationError(msg)
        return f"{self._server.listening_address}/v1"

    def start(self) -> Self:
        """Load the model and listen; nothing happens if it is running already.

        Raises:
            ConfigurationError: if llama.cpp is not installed, or the model cannot be loaded.
        """
        if self._server is None:
            self._server = self._serve(_llama_cpp())
        return self

    def close(self) -> None:
        """Stop listening and free the model, after waiting for the requests still being worked on.

        A request whose client has given up counts too: it runs to its `max_tokens`. Send no new
        requests from other threads meanwhile.
        """
        if self._server is None:
            return
        # llama.cpp's server must be idle when it is dropped. With a request in hand it waits for that client to
        # hang up, holding the interpreter's lock, so that a client in this process never could. And before its
        # working thread runs, which may be after its start has returned, it would wait for ever: an answer about
        # its work shows that the thread is there.
        while _is_busy(self._server):
            time.sleep(_IDLE_POLL_SECONDS)
        self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _serve(self, llama_cpp: Any) -> Any:
        if not self._model_path.is_file():
            msg = f"there is no model file at {self._model_path}"
            raise ConfigurationError(msg)
        try:
            return llama_cpp.Server(self._parameters(llama_cpp))
        except RuntimeError as error:
            msg = f"llama.cpp could not load {self._model_path}: is it a whole GGUF file of an architecture it knows?"
            raise ConfigurationError(msg) from error

    def _parameters(self, llama_cpp: Any) -> Any:
        parameters = llama_cpp.CommonParams()
        parameters.model.path = str(self._model_path)
        parameters.model_alias = {self.model}
        parameters.api_keys = [self.api_key]
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0
        parameters.n_parallel = self._parallel
        parameters.n_ctx = self._context_tokens * self._parallel  # llama.cpp divides it among the slots
        parameters.cpuparams.n_threads = self._threads
        parameters.cpuparams_batch.n_threads = self._threads
        parameters.use_jinja = True
        # By default a last message of the assistant is taken for the start of the reply and continued,
        # so that a guard asked about it repeats it with status 200 instead of judging it.
        parameters.prefill_assistant = False
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
