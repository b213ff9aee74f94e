"""Handles and timer handles: what asyncio's own offer."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref

import pytest

from support.loops import Factory, run_turns

Loop = asyncio.AbstractEventLoop


class Payload:
    """Something that can be referred to weakly."""


def callback(*_: object) -> None:
    """A callback with a name and a place."""


def test_handles_are_instances_of_asyncios_classes(loop: Loop) -> None:
    soon = loop.call_soon(callback)
    later = loop.call_later(10, callback)
    assert isinstance(soon, asyncio.Handle)
    assert not isinstance(soon, asyncio.TimerHandle)
    assert isinstance(later, asyncio.Handle)
    assert isinstance(later, asyncio.TimerHandle)
    assert isinstance(loop.call_at(0, callback), asyncio.TimerHandle)
    assert isinstance(loop.call_later(0, callback), asyncio.TimerHandle)
    assert isinstance(loop.call_soon_threadsafe(callback), asyncio.Handle)


def test_a_cancelled_callback_does_not_run(loop: Loop) -> None:
    seen: list[int] = []
    handles = [loop.call_soon(seen.append, number) for number in range(3)]
    assert not handles[1].cancelled()
    handles[1].cancel()
    assert handles[1].cancelled()
    handles[1].cancel()
    run_turns(loop)
    assert seen == [0, 2]


def test_a_callback_of_the_same_turn_can_still_be_cancelled(loop: Loop) -> None:
    seen: list[str] = []
    handles: list[asyncio.Handle] = []
    loop.call_soon(lambda: handles[0].cancel())
    handles.append(loop.call_soon(seen.append, "must not run"))
    run_turns(loop)
    assert not seen


def test_cancelling_after_the_run_does_nothing(loop: Loop) -> None:
    seen: list[int] = []
    handle = loop.call_soon(seen.append, 1)
    run_turns(loop)
    handle.cancel()
    assert handle.cancelled()
    assert seen == [1]


@pytest.mark.parametrize("how", ["soon", "later", "threadsafe"])
def test_a_cancelled_handle_lets_go_of_callback_and_arguments(loop: Loop, how: str) -> None:
    if loop.get_debug():
        pytest.skip("in debug mode asyncio keeps them, for the handle's text")
    argument = Payload()
    gone = weakref.ref(argument)
    if how == "later":
        handle: asyncio.Handle = loop.call_later(1000, callback, argument)
    elif how == "soon":
        handle = loop.call_soon(callback, argument)
    else:
        handle = loop.call_soon_threadsafe(callback, argument)
    del argument
    assert gone() is not None
    handle.cancel()
    assert gone() is None


def test_a_handle_that_has_run_still_names_its_callback(loop: Loop) -> None:
    handle = loop.call_soon(callback)
    run_turns(loop)
    assert "callback" in repr(handle)


def test_an_unreferenced_handle_is_freed_after_its_run(loop: Loop) -> None:
    argument = Payload()
    gone = weakref.ref(argument)
    loop.call_soon(callback, argument)
    del argument
    run_turns(loop)
    assert gone() is None


def test_the_text_of_a_handle_names_callback_and_place(loop: Loop) -> None:
    line = callback.__code__.co_firstlineno
    text = repr(loop.call_soon(callback, 1))
    assert text.startswith("<Handle callback(")
    assert f"at {__file__}:{line}" in text
    handle = loop.call_soon(callback)
    handle.cancel()
    assert repr(handle).startswith("<Handle cancelled")


def test_the_text_of_a_timer_names_its_time(loop: Loop) -> None:
    timer = loop.call_at(123.0, callback)
    assert repr(timer).startswith("<TimerHandle when=123.0 callback(")
    timer.cancel()
    assert repr(timer).startswith("<TimerHandle cancelled when=123.0")


def test_the_text_is_letter_by_letter_asyncios(loop: Loop) -> None:
    reference = asyncio.SelectorEventLoop()
    try:
        for target in (loop, reference):
            target.set_debug(False)
        for arguments in ((), (1,), ("text", [1, 2]), tuple(range(5))):
            ours = repr(loop.call_soon(callback, *arguments))
            assert ours == repr(reference.call_soon(callback, *arguments))
            ours = repr(loop.call_at(5.5, callback, *arguments))
            assert ours == repr(reference.call_at(5.5, callback, *arguments))
        assert repr(loop.call_soon(print, "x")) == repr(reference.call_soon(print, "x"))
    finally:
        reference.close()


def test_timers_are_ordered_by_their_time(loop: Loop) -> None:
    first, second = loop.call_at(1, callback), loop.call_at(2, callback)
    same = loop.call_at(1, callback)
    assert first < second and second > first
    assert first <= second and second >= first
    assert first <= same and first >= same
    assert not first < same
    assert first.when() == 1 and second.when() == 2
    with pytest.raises(TypeError):
        first < 1  # type: ignore[operator] # noqa: B015


def test_timers_are_equal_when_everything_about_them_is(loop: Loop) -> None:
    first = loop.call_at(1, callback, "a")
    assert first == first  # noqa: PLR0124 - what is tested
    assert first == loop.call_at(1, callback, "a")
    assert first != loop.call_at(1, callback, "b")
    assert first != loop.call_at(2, callback, "a")
    assert first != 1
    cancelled = loop.call_at(1, callback, "a")
    cancelled.cancel()
    assert first != cancelled


def test_timers_are_hashed_by_their_time(loop: Loop) -> None:
    timer = loop.call_at(1.5, callback)
    assert hash(timer) == hash(1.5)
    assert {timer: 1}[timer] == 1
    assert hash(loop.call_soon(callback)) is not None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="since 3.12")
def test_a_handle_gives_its_context(loop: Loop) -> None:
    context = contextvars.Context()
    handle = loop.call_soon(callback, context=context)
    assert handle.get_context() is context  # type: ignore[attr-defined,unused-ignore] # since 3.12
    timer = loop.call_later(10, callback, context=context)
    assert timer.get_context() is context  # type: ignore[attr-defined,unused-ignore] # since 3.12
    own = loop.call_soon(callback).get_context()  # type: ignore[attr-defined,unused-ignore] # since 3.12
    assert isinstance(own, contextvars.Context)


def test_a_handle_can_be_referred_to_weakly(loop: Loop) -> None:
    handle = loop.call_soon(callback)
    reference = weakref.ref(handle)
    assert reference() is handle
    timer = loop.call_later(10, callback)
    assert weakref.ref(timer)() is timer


@pytest.mark.parametrize("kept", ["strongly", "weakly", "not at all"])
@pytest.mark.parametrize("how", ["call_soon", "call_soon_threadsafe"])
def test_callbacks_run_in_order_whether_or_not_their_handles_are_kept(
    loop: Loop, how: str, kept: str
) -> None:
    """A handle that is not kept may have been reused when its callback runs; the others exist."""
    call = getattr(loop, how)
    seen: list[tuple[object, ...]] = []
    handles = []
    references = []
    for number in range(3000):
        handle = call(lambda *args: seen.append(args), *range(number % 6), number)
        if number % 3 == 0 and kept == "strongly":
            handles.append((number, handle))
        elif number % 3 == 0 and kept == "weakly":
            references.append(weakref.ref(handle))
        del handle
    assert all(reference() is not None for reference in references), "the queue holds them"
    for number, handle in handles:
        assert handle._args == (*range(number % 6), number)
        if number % 2:
            handle.cancel()
    run_turns(loop)
    expected = [(*range(number % 6), number) for number in range(3000)]
    if kept == "strongly":
        expected = [args for args in expected if args[-1] % 3 or args[-1] % 2 == 0]
    assert seen == expected
    assert [number for number, handle in handles if handle.cancelled()] == [
        number for number, _ in handles if number % 2
    ]
    gc.collect()
    assert all(reference() is None for reference in references)


def test_what_is_queued_can_be_looked_at_and_cancelled(loop: Loop) -> None:
    seen: list[int] = []
    for number in range(4):
        loop.call_soon(seen.append, number)
    first, *_ = queued = list(loop._ready)  # type: ignore[attr-defined]
    assert [handle._args for handle in queued] == [(0,), (1,), (2,), (3,)]
    for handle in queued[1:3]:
        handle.cancel()
    again = list(loop._ready)  # type: ignore[attr-defined]
    assert all(one is other for one, other in zip(queued, again, strict=True))
    assert not first.cancelled()
    run_turns(loop)
    assert seen == [0, 3]


def test_a_cycle_through_a_queue_that_never_runs_is_collected(new_loop: Factory) -> None:
    loop = new_loop()
    holder = Payload()
    gone = weakref.ref(holder)
    holder.loop = loop  # type: ignore[attr-defined]
    for _ in range(3):
        loop.call_soon(callback, holder)
        loop.call_soon_threadsafe(callback, holder)
    del holder
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()
    assert gone() is None


def test_a_cycle_through_a_handle_is_collected(loop: Loop) -> None:
    holder = Payload()
    gone = weakref.ref(holder)
    holder.handle = loop.call_later(1000, callback, holder)  # type: ignore[attr-defined]
    holder.handle.cancel()  # type: ignore[attr-defined]
    del holder
    gc.collect()
    assert gone() is None


def test_a_cycle_through_a_queued_handle_is_collected_with_the_loop(new_loop: Factory) -> None:
    loop = new_loop()
    holder = Payload()
    gone = weakref.ref(holder)
    holder.loop = loop  # type: ignore[attr-defined]
    loop.call_later(1000, callback, holder)
    loop.call_soon(callback, holder)
    loop.close()
    del holder, loop
    gc.collect()
    assert gone() is None


@pytest.mark.slow
def test_a_long_chain_of_handles_is_released(loop: Loop) -> None:
    """Each is an argument of the next: destroying the last must not use up the stack."""
    handle = loop.call_soon(callback)
    for _ in range(200_000):
        handle = loop.call_soon(callback, handle)
    run_turns(loop)
    gone = weakref.ref(handle)
    del handle
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("shown", ["_args", "_context"])
def test_a_handle_may_run_while_its_content_is_being_looked_at(loop: Loop, shown: str) -> None:
    """Making a tuple or a context may run the collector, and that anything."""
    seen: list[tuple[object, ...]] = []
    handle = loop.call_soon(lambda *args: seen.append(args), 1, 2, 3)

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            run_turns(loop)

    gc.collect()
    threshold = gc.get_threshold()
    Cycle()
    # Nothing comes from the interpreter's lists of freed objects.
    taken = ([(n, n, n) for n in range(5000)], [contextvars.Context() for _ in range(600)])
    gc.set_threshold(1)
    try:
        getattr(handle, shown)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert seen == [(1, 2, 3)]
    assert all(taken)


@pytest.mark.parametrize("kind_of_handle", ["soon", "later"])
def test_a_cancelled_callback_does_not_run_though_it_cannot_be_shown(
    loop: Loop, kind_of_handle: str
) -> None:
    class Shy:
        def __call__(self) -> None:
            called.append(self)

        def __repr__(self) -> str:
            raise ValueError("not for you")

    called: list[Shy] = []
    loop.set_debug(True)
    handle = loop.call_soon(Shy()) if kind_of_handle == "soon" else loop.call_later(0, Shy())
    with pytest.raises(ValueError, match="not for you"):
        handle.cancel()
    assert handle.cancelled()
    run_turns(loop, 3)
    assert not called
