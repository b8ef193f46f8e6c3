"""What threads do: tasks, one after another, and what happens on the cluster meanwhile.

A *task* is what one thread of a trainer does for a minibatch, in steps (`sim.engine.tasks`). A step may hold a *call*,
which is DistDGL's way to ask for anything remote: build the requests, send them back-to-back, do the local part of the
work, and put the responses in place one after another as they come. Before a task a thread may have to wait for a
*token*, which the trainer's other thread releases: a minibatch that is prepared, or a place for one. Work is done on
cores (`sim.engine.cores`), calls are made in `sim.engine.rpc`, gradients are summed up in `sim.engine.allreduce`.

These are compiled functions over arrays, because a run has dozens of such events for every minibatch of every trainer.
"""

from __future__ import annotations

import numpy as np

from sim.compiled import kernel, part
from sim.engine.allreduce import join_ring, on_part_added, receiver_of
from sim.engine.cores import end_job, start_job, submit_job
from sim.engine.event_heap import pop_event
from sim.engine.layout import (
    AFTER,
    BEFORE,
    BEGINNING,
    GIVEN,
    IDLE,
    OVERLAPPED,
    SCATTERING,
    SERVING,
    STARTED,
    UNBLOCKED,
    WAITING,
)
from sim.engine.links import send_posted, share_links
from sim.engine.queues import NONE, dequeue, enqueue, first_queue
from sim.engine.rpc import copy_rows, on_arrival, send_requests, send_response, start_service
from sim.engine.tasks import ON_BEGIN, ON_END, ON_REQUEST, PREPARE, REDUCE, THREADS_PER_TRAINER

NOBODY = -1
"""The thread that `advance` returns where none has finished its last task."""


@kernel
def advance(now, until, state):  # type: ignore[no-untyped-def]
    """Process events in time order until a thread finishes its last task or the next event is at or after `until`.

    Returns when that was and which thread it is, or `until` and `NOBODY`. The order of events at one instant is in
    `sim.engine.engine`.
    """
    threads = state.threads
    while True:
        number, which = NOBODY, first_queue(threads)
        if which != NONE:
            number = from_queue(which, now, threads)
        else:
            soonest_s, pool = np.inf, -1
            for i in range(state.cores.pools.shape[0]):
                if state.cores.pools[i].next_end_s < soonest_s:
                    soonest_s, pool = state.cores.pools[i].next_end_s, i
            if state.events.heap[0].events and state.events.events[0].at_s <= soonest_s:
                soonest_s, pool = state.events.events[0].at_s, -1
            traffic, flows_s = state.links.traffic[0], np.inf
            if traffic.flows:
                flows_s = traffic.settled_s if traffic.stale else traffic.next_change_s
            now = min(soonest_s, flows_s)
            if now >= until:
                return until, NOBODY
            if flows_s < soonest_s:
                share_links(now, state.links, state.events)
            elif pool >= 0:
                number = end_job(pool, threads.threads, state.cores)
            else:
                number = on_event(pop_event(state.events), now, state)
        if number != NOBODY and go_on(number, now, state) and end_task(number, now, threads):
            return now, number


@part
def from_queue(which, now, threads):  # type: ignore[no-untyped-def]
    """Take the first thread out of a queue. Returns it if it goes on, or `NOBODY`."""
    number = dequeue(which, threads)
    if which == GIVEN:
        unblock(number, threads)
    elif which == STARTED:
        next_task(number, now, threads)
    elif which == UNBLOCKED:
        begin_task(number, now, threads)
    else:
        threads.threads[number].step = -1
        return number
    return NOBODY


@part
def on_event(number, now, state):  # type: ignore[no-untyped-def]
    """A message arrives, or a thread's time slice has come. Returns the thread that goes on thereby, or `NOBODY`."""
    messages = state.links.flows.shape[0]
    if number < state.ring.first_message:
        return on_arrival(number, state.rpc, state.threads)
    if number < messages:
        return receiver_of(number - state.ring.first_message, state.ring)
    threads = state.threads.threads
    start_job(number - messages, threads[number - messages].demand_s, now, threads, state.cores)
    return NOBODY


@part
def next_task(number, now, threads):  # type: ignore[no-untyped-def]
    """Let a thread come to its next task, and begin it unless the thread needs a token and has none."""
    thread = threads.threads[number]
    threads.times[number, thread.task].requested_s = now
    if thread.releases == ON_REQUEST:
        give_token(thread.gil_peer, threads)
    if not thread.needs_token or thread.tokens:
        begin_task(number, now, threads)
    else:
        thread.blocked = True
        in_turns = thread.releases == ON_REQUEST or threads.threads[thread.gil_peer].releases == ON_REQUEST
        thread.asleep = not in_turns  # those that take turns are one thread in reality


@part
def give_token(number, threads):  # type: ignore[no-untyped-def]
    """Give a thread a token."""
    threads.threads[number].tokens += 1
    unblock(number, threads)


@part
def unblock(number, threads):  # type: ignore[no-untyped-def]
    """Let a thread go on if it waits for a token that it has been given."""
    if threads.threads[number].blocked:
        threads.threads[number].blocked = False
        enqueue(UNBLOCKED, number, threads)


@part
def begin_task(number, now, threads):  # type: ignore[no-untyped-def]
    """Let a thread begin a task, with a token if it needs one."""
    thread = threads.threads[number]
    if thread.needs_token:
        thread.tokens -= 1
    threads.times[number, thread.task].began_s = now
    enqueue(BEGINNING, number, threads)
    if thread.releases == ON_BEGIN:
        give_token(thread.gil_peer, threads)


@part
def end_task(number, now, threads):  # type: ignore[no-untyped-def]
    """A thread's task has ended. Returns whether it was the last one."""
    thread = threads.threads[number]
    if thread.releases == ON_END:
        give_token(thread.gil_peer, threads)
    thread.task += 1
    if thread.task == thread.tasks:
        return True
    next_task(number, now, threads)
    return False


@part
def go_on(number, now, state):  # type: ignore[no-untyped-def]
    """Take a thread into its next stage, and past those that take no time. Returns whether a trainer's task has
    ended."""
    threads, rpc, then = state.threads, state.rpc, NOBODY
    if threads.threads[number].stage == SERVING:
        sender = send_response(number, rpc, threads, state.links)
        if sender != NOBODY:
            number, then = sender, number
    while True:
        thread = threads.threads[number]
        if number < rpc.first_server:
            demand_s = next_stage(number, now, threads, rpc, state.ring, state.links)
        elif number < rpc.first_sender:
            demand_s = start_service(number, now, rpc, threads)
        else:
            demand_s = copy_rows(number, rpc, threads)
        send_posted(now, state.links, state.events)
        computes = thread.stage != IDLE and thread.stage != WAITING
        if computes and demand_s == 0.0 and thread.stage != SERVING:
            continue
        if computes:
            event = state.links.flows.shape[0] + number
            submit_job(number, demand_s, now, threads.threads, state.cores, event, state.events)
        if then == NOBODY:
            return thread.stage == IDLE and number < rpc.first_server
        number, then = then, NOBODY


@part
def next_stage(number, now, threads, rpc, ring, links):  # type: ignore[no-untyped-def]
    """Take a trainer's thread into its next stage, which is `IDLE` after the last step. Returns the work of that."""
    trainer, thread = number // THREADS_PER_TRAINER, threads.threads[number]
    times, stage = threads.times[number, thread.task], thread.stage
    if stage in (IDLE, AFTER):
        if stage == AFTER:
            times.ended_s[thread.step] = now
        thread.step += 1
        if thread.step == thread.steps:
            thread.stage = IDLE
            return 0.0
        thread.stage = BEFORE
        return step_of(number, threads).before_s
    if step_of(number, threads).kind == REDUCE:
        return next_part(number, now, threads, ring, links)
    if stage == BEFORE:
        if number % THREADS_PER_TRAINER == PREPARE:
            send_requests(trainer, rpc, threads, links)
        times.overlapped_s[thread.step] = -now
        thread.stage = OVERLAPPED
        return step_of(number, threads).overlapped_s
    if stage == OVERLAPPED:
        times.overlapped_s[thread.step] += now
    return next_response(number, threads, rpc)


@part
def next_part(number, now, threads, ring, links):  # type: ignore[no-untyped-def]
    """Let a thread join the all-reduce, add the part that has come, or wait for the next one. Returns the work of
    that."""
    trainer, thread = number // THREADS_PER_TRAINER, threads.threads[number]
    if thread.stage == WAITING:
        thread.stage = SCATTERING
        return ring.round[0].add_s
    if thread.stage == BEFORE:
        join_ring(trainer, step_of(number, threads).overlapped_s, now, ring, links)
    else:
        on_part_added(trainer, now, ring, links)
        if not ring.parts[trainer].to_add:
            thread.stage = AFTER
            return step_of(number, threads).after_s
    thread.stage, thread.asleep = WAITING, True
    return 0.0


@part
def step_of(number, threads):  # type: ignore[no-untyped-def]
    """The step that a trainer's thread is in."""
    thread = threads.threads[number]
    return threads.tasks[number, thread.task, thread.step]


@part
def next_response(number, threads, rpc):  # type: ignore[no-untyped-def]
    """Let a thread put its next response in place, wait for one, or go on after its call. Returns the work of that."""
    thread = threads.threads[number]
    prepares, trainer = number % THREADS_PER_TRAINER == PREPARE, number // THREADS_PER_TRAINER
    if prepares and rpc.inboxes[trainer].first >= 0:
        response = rpc.messages[rpc.inboxes[trainer].first]
        rpc.inboxes[trainer].first = response.next
        rpc.awaited[trainer] -= 1
        thread.stage = SCATTERING
        return response.rows * rpc.kinds[step_of(number, threads).kind].scatter_s_per_row
    if prepares and rpc.awaited[trainer]:
        thread.stage, thread.asleep = WAITING, True
        return 0.0
    thread.stage = AFTER
    return step_of(number, threads).after_s
