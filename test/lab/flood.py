"""Sends the same packets over and over until it is killed: `DEVICE SOURCE-MAC DESTINATION-MAC`, probes as for probe.py.

Their source addresses may be anybody's. Says "flooding" when each of them was sent once.
"""

import json
import socket
import struct
import sys
import time

from probe import checksum, family_of, segment

BURST = 64
PAUSE = 0.001

device, source_mac, destination_mac = sys.argv[1:]


def frame(probe):
    family = family_of(probe)
    tcp = segment(probe, family)
    addresses = socket.inet_pton(family, probe["source"]) + socket.inet_pton(family, probe["destination"])
    macs = bytes.fromhex((destination_mac + source_mac).replace(":", ""))
    if family == socket.AF_INET6:
        return macs + struct.pack("!HIHBB", 0x86DD, 0x60000000, len(tcp), socket.IPPROTO_TCP, 64) + addresses + tcp
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, socket.IPPROTO_TCP, 0) + addresses
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return macs + struct.pack("!H", 0x0800) + ip + tcp


frames = [frame(json.loads(line)) for line in sys.stdin]
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((device, 0))
while True:
    for start in range(0, len(frames), BURST):
        for packet in frames[start : start + BURST]:
            try:
                wire.send(packet)
            except BlockingIOError:
                pass
            except OSError as error:
                if error.errno != 105:  # ENOBUFS: the device's queue is full, as a flood's may be.
                    raise
        time.sleep(PAUSE)
    print("flooding", flush=True)
