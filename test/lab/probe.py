"""Sends TCP packets made by hand: one JSON object a line on standard input, one packet each.

Python's standard library only. A raw socket leaves the answers to whoever captures them.
"""

import json
import socket
import struct
import sys
import time

FLAGS = "FSRPAUEC"


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def segment(probe, family):
    options = bytes.fromhex(probe.get("options", ""))
    payload = bytes.fromhex(probe.get("payload", ""))
    bits = sum(1 << FLAGS.index(letter) for letter in probe["flags"])

    def header(check):
        return struct.pack(
            "!HHIIBBHHH",
            probe["sourcePort"],
            probe["destinationPort"],
            probe.get("sequence", 0),
            probe.get("acknowledgment", 0),
            (5 + len(options) // 4) << 4,
            bits,
            probe.get("window", 64240),
            check,
            0,
        )

    length = len(header(0)) + len(options) + len(payload)
    addresses = socket.inet_pton(family, probe["source"]) + socket.inet_pton(family, probe["destination"])
    if family == socket.AF_INET:
        pseudo = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, length)
    else:
        pseudo = addresses + struct.pack("!IHBB", length, 0, 0, socket.IPPROTO_TCP)
    check = checksum(pseudo + header(0) + options + payload)
    return header(check) + options + payload


sockets = {}
for line in sys.stdin:
    probe = json.loads(line)
    family = socket.AF_INET6 if probe["family"] == "ipv6" else socket.AF_INET
    if family not in sockets:
        sockets[family] = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
    sockets[family].sendto(segment(probe, family), (probe["destination"], 0))
    # One answer after the other, so that order tells which is whose.
    time.sleep(0.003)
