"""What is asked for several times is done once, a while later."""

import threading

from kowalski.delayed import Delayed


def test_all_that_ask_meanwhile_are_served_at_once() -> None:
    called = threading.Semaphore(0)
    times: list[int] = []

    def function() -> None:
        times.append(len(times))
        called.release()

    soon = Delayed(0.2, function)
    for _ in range(50):
        soon.ask()
    assert called.acquire(timeout=60)
    assert times == [0]
    soon.ask()
    assert called.acquire(timeout=60)
    assert times == [0, 1]


def test_who_asks_while_it_is_done_is_served_anew() -> None:
    done = threading.Event()
    times: list[int] = []

    def function() -> None:
        times.append(len(times))
        if len(times) == 1:
            soon.ask()
        else:
            done.set()

    soon = Delayed(0.01, function)
    soon.ask()
    assert done.wait(60)
