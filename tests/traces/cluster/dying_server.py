"""A job whose server on machine 1 dies while the trainers join it."""

import os
import signal
import time

from traces.cluster.process import connect

if os.environ["DGL_ROLE"] == "server" and os.environ["RUDDER_MACHINE"] == "1":
    signal.alarm(2)


def main(arguments):
    connect()
    time.sleep(3600)
