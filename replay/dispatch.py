"""How a live trainer asks its policy: at once, after a wait, or in a thread beside the training that goes on.

A heuristic answers in microseconds, and applies to the next minibatch, as in the simulator. A language model takes
seconds: in asynchronous mode it is asked in a thread, and training goes on with the buffer as it is.
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
"""Puts a question to the policy of a driver. The driver hears the answer when it has come."""


def dispatcher(driver: PolicyDriver, slow: bool, mode: Mode) -> Ask:
    """The way that fits a policy and a mode."""
    if not slow:
        return ask_at_once(driver, waits=mode == "sync")
    return ask_and_wait(driver) if mode == "sync" else ask_beside(driver)


def ask_at_once(driver: PolicyDriver, waits: bool) -> Ask:
    """The answer is there before training goes on. One that says it took time, out of a log, takes it here too."""

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
    """Training waits until the policy has thought, for as long as the time-out of a model allows."""

    def ask(observation: Observation) -> None:
        driver.answer(timed(driver.policy, observation))

    return ask


def ask_beside(driver: PolicyDriver) -> Ask:
    """A thread of its own asks; a policy that never answers leaves the buffer as it is."""
    questions: SimpleQueue[Observation] = SimpleQueue()

    def answer_all() -> None:
        while True:
            driver.answer(timed(driver.policy, questions.get()))

    threading.Thread(target=answer_all, name="policy", daemon=True).start()
    return questions.put


def timed(policy: Policy, observation: Observation) -> Decision:
    """The policy's decision, with the time that it took here. What it raises counts as a failure, and skips."""
    start = perf_counter()
    try:
        decision = policy.decide(observation)
    except Exception as error:
        decision = Decision(replace=False, outcome="failed", reason=f"{type(error).__name__}: {error}")
    return replace(decision, latency_s=perf_counter() - start)
