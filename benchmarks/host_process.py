"""A host that runs in a process of its own, so that its work is not counted as its clients'."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

from typing_extensions import Self


class HostProcess:
    """The process, for as long as the `with` block lasts.

    Attributes:
        module: what is run: it prints its port, and ends when its input does.
    """

    module: ClassVar[str]

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", self.module]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 (our own module)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
