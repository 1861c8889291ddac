"""Streams, events and graphs: ``cupy.cuda.Stream`` and what belongs to it."""

from __future__ import annotations

from typing import Any

from .errors import CUDARuntimeError
from .machine import Queue, Work, check_alive, current


class Stream:
    """A CUDA stream. ``Stream.null`` is the null stream of whichever device is current."""

    null: Stream

    def __init__(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> None:
        if ptds:
            raise NotImplementedError("the stand-in has no per-thread default stream")
        self._own = None if null else current().new_queue(blocking=not non_blocking)
        self.ptr = 0 if self._own is None else self._own.pointer
        self.device_id = -1 if self._own is None else self._own.device_id

    @property
    def _queue(self) -> Queue:
        return self._own or current().queue(0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return hash(self.ptr)

    def __repr__(self) -> str:
        return f"<Stream {self.ptr} (device {self.device_id})>"

    def _check_device(self) -> int:
        device_id = current().device_id
        if self.device_id not in (-1, device_id):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with the current device "
                f"({device_id})"
            )
        return device_id

    def __enter__(self) -> Stream:
        device_id, machine = self._check_device(), current()
        machine.stream_stack(device_id).append(self)
        machine.stream_stack(-1).append(device_id)  # CuPy leaves the device that it entered on.
        machine.streams[device_id] = self
        return self

    def __exit__(self, *error: object) -> None:
        machine = current()
        device_id = machine.stream_stack(-1).pop()
        stack = machine.stream_stack(device_id)
        stack.pop()
        # CuPy's stack knows nothing of ``use``: what that had set is not set again.
        machine.streams[device_id] = stack[-1] if stack else Stream.null

    def use(self) -> Stream:
        """Make the stream current, until ``use`` or the end of any ``with`` block of a stream sets another."""
        current().streams[self._check_device()] = self
        return self

    @property
    def done(self) -> bool:
        return not self._queue.work

    @property
    def is_non_blocking(self) -> bool:
        return not self._queue.blocking

    def synchronize(self) -> None:
        """Wait for the work of the stream."""
        current().counts["waits"] += 1
        self._queue.synchronize()

    def record(self, event: Event | None = None) -> Event:
        """Record an event, a new one by default."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Order the stream's further work after an event; one that was never recorded orders nothing."""
        queue, recorded = self._queue, event._recorded
        if recorded is None:
            return
        other, number, captured = recorded
        if captured != (queue.captured is not None) or (captured and other is not queue):
            if captured:
                raise NotImplementedError("the stand-in does not capture work of several streams into one graph")
            queue.capture_failed = True
            raise CUDARuntimeError(905)
        if not captured:
            queue.submit(lambda: other.drain(number))

    def launch_host_func(self, callback: Any, arg: Any) -> None:
        """Call a function on the host in the stream's order."""
        self._queue.submit(lambda: callback(arg))

    def begin_capture(self, mode: int | None = None) -> None:
        """Record the work that follows instead of doing it."""
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._queue.captured is not None:
            raise CUDARuntimeError(900)
        self._queue.captured, self._queue.capture_failed = [], False

    def end_capture(self) -> Graph:
        """Return what was recorded."""
        queue = self._queue
        work, queue.captured = queue.captured, None
        if work is None:
            raise CUDARuntimeError(1)
        if queue.capture_failed:
            raise CUDARuntimeError(901)
        current().counts["captures"] += 1
        return Graph._of(work)

    def is_capturing(self) -> bool:
        return self._queue.captured is not None


Stream.null = Stream(null=True)


class Event:
    """A point in a stream's work."""

    def __init__(self, block: bool = False, disable_timing: bool = False, interprocess: bool = False) -> None:
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        current().check_driver()
        self._timed = not disable_timing
        self._recorded: tuple[Queue, int, bool] | None = None
        self._time: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Put the event into a stream, the current one by default; it forgets where it was before."""
        queue = (stream or get_current_stream())._queue
        self._time = None
        self._recorded = (queue, queue.submit(self._pass), queue.captured is not None)

    def _pass(self) -> None:
        self._time = current().now()

    @property
    def done(self) -> bool:
        self._refuse_captured()
        return self._recorded is None or self._time is not None

    def synchronize(self) -> None:
        """Wait until the stream has come to the event."""
        self._refuse_captured()
        if self._recorded is not None:
            queue, number, _ = self._recorded
            queue.machine.counts["waits"] += self._time is None
            with queue.machine.lock:
                queue.drain(number)
                queue.machine.check_guards()

    def _refuse_captured(self) -> None:
        if self._recorded is not None and self._recorded[2]:
            raise CUDARuntimeError(907)


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Return the milliseconds between two events that have passed."""
    if not (start_event._timed and end_event._timed and start_event._recorded and end_event._recorded):
        raise CUDARuntimeError(400)
    if start_event._time is None or end_event._time is None:
        raise CUDARuntimeError(600)
    return (end_event._time - start_event._time) * 1e3


class Graph:
    """Work that was captured, to be done any number of times."""

    _work: list[Work]

    def __init__(self) -> None:
        raise NotImplementedError(
            "currently this class cannot be initiated by the user and must be created via stream capture"
        )

    @classmethod
    def _of(cls, work: list[Work]) -> Graph:
        graph = cls.__new__(cls)
        graph._work = work
        return graph

    def launch(self, stream: Stream | None = None) -> None:
        """Queue the work, on the current stream by default."""
        queue = (stream or get_current_stream())._queue
        queue.machine.counts["graphs"] += 1
        for work in self._work:
            check_alive(work)
            queue.submit(work.run, [a for reference in work.allocations if (a := reference()) is not None])

    def upload(self, stream: Stream | None = None) -> None:
        """Prepare the graph; nothing to be seen."""
        current().check_driver()


def get_current_stream(device_id: int = -1) -> Stream:
    """Return the current stream of this thread, on the current or the given device."""
    machine = current()
    stream: Stream = machine.streams.get(machine.device_id if device_id == -1 else device_id, Stream.null)
    return stream


def refuse_capture(what: str, stream: Stream | None = None) -> None:
    """Raise CuPy's error if the stream is capturing; ``what`` is "H2D transfers", for instance."""
    if (stream or get_current_stream()).is_capturing():
        raise RuntimeError(f"the current stream is capturing, so {what} are disallowed")
