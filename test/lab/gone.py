"""A client that hands over a socket which lingers: `SOCKET`, one message on standard input, as hex.

Says `gone` once it was answered and has closed everything else. At its end the socket is reset, and closed at last.
"""

import array
import socket
import sys
import time

import lingerers

reader = lingerers.reader(backlog=1, buffer=4096)
some = lingerers.lingering(reader, 60)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
    client.connect(sys.argv[1])
    rights = array.array("i", [some.fileno()])
    client.sendmsg([bytes.fromhex(sys.stdin.readline())], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    some.close()
    client.recv(4096)
print("gone", flush=True)
time.sleep(60)
