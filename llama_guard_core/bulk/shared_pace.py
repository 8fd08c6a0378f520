"""One pace for all processes of a Ray cluster."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.pace import Pace

_NAMESPACE = "llama-guard"
_LONGEST_ASKING = 5.0  # seconds: nothing else of an event loop goes on while it asks


class SharedPace(Pace):
    """So many requests in so many seconds at most, from all of a Ray cluster together.

    `Host.named("groq", pace=SharedPace("groq", 30, per=60))`. Whoever uses a `SharedPace` of that name asks the same
    actor for each turn: a `Pace` in the namespace `llama-guard`, which reserves no processor. The first turn makes it.
    It is detached: it outlives who made it and the job, holds for other jobs of the cluster too, and ends with the
    cluster or by `end`. One that crashed is started again, and gives its next turn at once.

    A turn costs that actor's answer, about a millisecond, in which the event loop that asks stands still. Beyond some
    hundreds a second give each process of a pool of fixed size its part instead: `Pace(rate / size)`, which each counts
    for itself.

    It counts turns, as `Pace` does: between a turn and its request lie that answer's way and a busy program. It knows
    nothing of what is sent from outside the cluster.

    Args:
        name: what is limited, such as an account: one actor for each name.
        requests: how many.
        per: in how many seconds.
        burst: how many may be sent at once after a pause.

    Raises:
        ConfigurationError: a number is wrong, Ray is not installed, or, with the first turn, the cluster has a pace of
            that name with other numbers.
    """

    def __init__(self, name: str, requests: float, *, per: float = 1.0, burst: int = 1) -> None:
        super().__init__(requests, per=per, burst=burst)
        ray_library()
        self._name = name
        self._actor: Any = None
        self._connecting = Lock()

    def turn(self, within: float | None = None) -> float | None:
        """Take a turn; see `Pace.turn`.

        Raises:
            ray.exceptions.RayActorError: if somebody ended the pace, so that it cannot be kept.
        """
        ray = ray_library()
        try:
            wait: float | None = ray.get(self._turns().turn.remote(within), timeout=_LONGEST_ASKING)
        except ray.exceptions.GetTimeoutError:  # it is being started again
            return None
        return wait

    def end(self) -> None:
        """Remove the pace of this name from the cluster. Whoever still uses it fails with `RayActorError`."""
        ray = ray_library()
        with suppress(ValueError):  # there is none
            ray.kill(ray.get_actor(self._name, namespace=_NAMESPACE))
        self._actor = None

    def __repr__(self) -> str:
        return super().__repr__().replace("(", f"({self._name!r}, ", 1)

    def __reduce__(self) -> tuple[Any, ...]:
        requests, per, burst = self._settings
        return partial(type(self), per=per, burst=burst), (self._name, requests)

    def _turns(self) -> Any:
        with self._connecting:
            if self._actor is None:
                self._actor = self._connected()
            return self._actor

    def _connected(self) -> Any:
        ray, (requests, per, burst) = ray_library(), self._settings
        lasting = {"lifetime": "detached", "max_restarts": -1, "max_task_retries": -1, "num_cpus": 0}
        shared = ray.remote(_Turns).options(name=self._name, namespace=_NAMESPACE, get_if_exists=True, **lasting)
        actor = shared.remote(requests, per=per, burst=burst)
        known, per, burst = ray.get(actor.settings.remote())
        if (known, per, burst) != self._settings:
            msg = (
                f"the cluster has a pace {self._name!r} already, {Pace(known, per=per, burst=burst)}: "
                "use its numbers, another name, or end it first (SharedPace.end)"
            )
            raise ConfigurationError(msg)
        return actor


class _Turns(Pace):
    """What runs in the actor."""

    def settings(self) -> tuple[float, float, int]:
        return self._settings


def ray_library() -> Any:
    """Ray itself.

    Raises:
        ConfigurationError: if it is not installed.
    """
    try:
        import ray  # noqa: PLC0415 - an extra, and slow to load
    except ImportError as error:
        msg = 'this needs Ray: pip install "llama-guardrails[ray]"'
        raise ConfigurationError(msg) from error
    return ray
