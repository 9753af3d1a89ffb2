"""A bad wire: `DEVICE LOST-MAC REAL-MAC SEED LOSS COPIES DELAY`.

Frames that leave by DEVICE for LOST-MAC, which nobody has, are sent on to REAL-MAC: a share of LOSS (0 to 1) not at all, a
share of COPIES twice, and each up to DELAY seconds late, so that they overtake one another. Says "ready", and on
SIGTERM how many it lost, copied and passed on, as JSON.
"""

import heapq
import json
import random
import select
import signal
import socket
import sys
import time

device, lost_mac, real_mac, seed, loss, copies, delay = sys.argv[1:]
LOSS, COPIES, DELAY = float(loss), float(copies), float(delay)
LOST, REAL = (bytes.fromhex(mac.replace(":", "")) for mac in (lost_mac, real_mac))
ETH_P_ALL, PACKET_OUTGOING = 3, 4
chance = random.Random(int(seed))
counts = {"lost": 0, "copied": 0, "passed": 0}
late = []


def end(*_):
    print(json.dumps(counts), flush=True)
    sys.exit(0)


def take(wire):
    frame, (_, _, kind, _, _) = wire.recvfrom(65536)
    if kind != PACKET_OUTGOING or frame[:6] != LOST:
        return
    if chance.random() < LOSS:
        counts["lost"] += 1
        return
    twice = chance.random() < COPIES
    counts["copied"] += twice
    counts["passed"] += 1
    for _ in range(1 + twice):
        heapq.heappush(late, (time.monotonic() + chance.random() * DELAY, chance.random(), REAL + frame[6:]))


signal.signal(signal.SIGTERM, end)
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
    wire.bind((device, ETH_P_ALL))
    print("ready", flush=True)
    while True:
        patience = max(0.0, late[0][0] - time.monotonic()) if late else 1.0
        if select.select([wire], [], [], patience)[0]:
            take(wire)
        while late and late[0][0] <= time.monotonic():
            wire.send(heapq.heappop(late)[2])
