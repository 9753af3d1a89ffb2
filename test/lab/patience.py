"""How long one call takes to fail: `connect ADDRESS PORT` or `listen ADDRESS PORT`, with `often` under a timer's signals."""

import errno
import json
import signal
import socket
import sys
import time

what, address, port, *more = sys.argv[1:]
if more == ["often"]:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
connection = socket.socket()
where = (address, int(port))
began = time.monotonic()
try:
    if what == "connect":
        connection.connect(where)
    else:
        connection.bind(where)
        connection.listen()
    result = "ok"
except OSError as error:
    result = errno.errorcode[error.errno]
took = time.monotonic() - began
signal.setitimer(signal.ITIMER_REAL, 0)
print(json.dumps({"result": result, "took": took}))
