"""A job whose server on machine 1 dies soon after the trainers have joined it."""

import os
import signal
import time

from traces.cluster.process import connect

if os.environ["DGL_ROLE"] == "server" and os.environ["RUDDER_MACHINE"] == "1":
    signal.alarm(4)


def main(arguments):
    connect()
    time.sleep(3600)
