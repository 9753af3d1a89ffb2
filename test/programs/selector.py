"""A server that waits by select() before it calls a blocking accept(): `ADDRESS PORT`.

One line for each call of accept(), with "ok" or the errno's name. Calls the C library's own, for Python's repeats EINTR.
"""

import ctypes
import errno
import os
import select
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
listener = socket.socket()
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.listen()
while True:
    select.select([listener], [], [])
    accepted = libc.accept(listener.fileno(), None, None)
    print("ok" if accepted >= 0 else errno.errorcode[ctypes.get_errno()], flush=True)
    if accepted >= 0:
        os.write(accepted, b"served")
        os.close(accepted)
