"""How a live trainer asks its policy: synchronously, or in a thread while training goes on.

A heuristic answers in microseconds; its decision applies to the next minibatch, as in the simulator. A language model
takes seconds: in asynchronous mode it is asked in a thread, and training goes on with the buffer as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from time import perf_counter, sleep

from agents.policy import Decision, Observation, Policy
from agents.policy_driver import PolicyDriver
from sim.config import Mode

Ask = Callable[[Observation], None]
"""Asks a driver's policy about an observation. The answer is passed to the driver when it has come."""


def dispatcher(driver: PolicyDriver, slow: bool, mode: Mode) -> Ask:
    """The way of asking for a policy, which may be `slow`, and a mode."""
    if not slow:
        return ask_at_once(driver, waits=mode == "sync")
    return ask_and_wait(driver) if mode == "sync" else ask_beside(driver)


def ask_at_once(driver: PolicyDriver, waits: bool) -> Ask:
    """Ask in the same thread. A decision with a latency, as those from a log have, is delayed by it."""

    def ask(observation: Observation) -> None:
        decision = driver.policy.decide(observation)
        if decision.latency_s == 0.0:
            driver.answer(decision)
        elif waits:
            sleep(decision.latency_s)
            driver.answer(decision)
        else:
            timer = threading.Timer(decision.latency_s, driver.answer, [decision])
            timer.daemon = True
            timer.start()

    return ask


def ask_and_wait(driver: PolicyDriver) -> Ask:
    """Ask in the same thread, and measure the latency; training waits meanwhile."""

    def ask(observation: Observation) -> None:
        driver.answer(timed(driver.policy, observation))

    return ask


def ask_beside(driver: PolicyDriver) -> Ask:
    """Ask in a thread; until an answer comes, the buffer stays as it is."""
    questions: SimpleQueue[Observation] = SimpleQueue()

    def answer_all() -> None:
        while True:
            driver.answer(timed(driver.policy, questions.get()))

    threading.Thread(target=answer_all, name="policy", daemon=True).start()
    return questions.put


def timed(policy: Policy, observation: Observation) -> Decision:
    """The policy's decision with its measured latency. An exception gives a failed decision, which skips."""
    start = perf_counter()
    try:
        decision = policy.decide(observation)
    except Exception as error:
        decision = Decision(replace=False, outcome="failed", reason=f"{type(error).__name__}: {error}")
    return replace(decision, latency_s=perf_counter() - start)
