"""A client of the control process that holds the lock of the socket that it hands over: `SOCKET FILE`, one message on standard
input, as hex.

The kernel locks the socket and reads a filter from memory that is the file's, which hangs. Says when it is handed over,
and waits to be ended.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
import time

path, file = sys.argv[1:]
message = bytes.fromhex(sys.stdin.readline())

SO_ATTACH_FILTER = 26
PROT_READ, MAP_PRIVATE, PAGE = 1, 2, 4096
# Seconds.
PATIENCE = 15

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def lock(some, filter):
    program = Program(1, filter)
    size = ctypes.sizeof(program)
    libc.setsockopt(some.fileno(), socket.SOL_SOCKET, SO_ATTACH_FILTER, ctypes.byref(program), size)


def is_stuck(thread):
    with open(f"/proc/self/task/{thread.native_id}/stat") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "D"


signal.alarm(120)
memory = libc.mmap(None, PAGE, PROT_READ, MAP_PRIVATE, os.open(file, os.O_RDONLY), 0)
some = socket.socket()
holder = threading.Thread(target=lock, args=(some, memory), daemon=True)
holder.start()
deadline = time.monotonic() + PATIENCE
while not is_stuck(holder):
    if time.monotonic() > deadline:
        sys.exit("the lock is not held")
    time.sleep(0.01)
client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
client.connect(path)
socket.send_fds(client, [message], [some.fileno()])
print("handed over", flush=True)
signal.pause()
