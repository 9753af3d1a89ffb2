"""Connects again and again, plainly, until SIGTERM: `ADDRESS PORT`. Then prints how often what happened, as JSON."""

import collections
import errno
import json
import signal
import socket
import sys
import time

seen = collections.Counter()
going = True


def stop(*_):
    global going
    going = False


signal.signal(signal.SIGTERM, stop)
family, where = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=socket.SOCK_STREAM)[0][::4]
print("hammering", flush=True)
while going:
    with socket.socket(family, socket.SOCK_STREAM) as knocker:
        # A closed port answers at once.
        knocker.settimeout(0.8)
        try:
            knocker.connect(where)
            seen["connected"] += 1
        except OSError as error:
            seen[errno.errorcode.get(error.errno, type(error).__name__)] += 1
    # Leaves the programs a processor.
    time.sleep(0.0002)
print(json.dumps(seen), flush=True)
