"""Sends TCP packets made by hand: `PAUSE`, and one JSON object a line on standard input, one packet each.

PAUSE is in seconds, between two packets: time for one answer after the other, so that order tells which is whose.
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


def family_of(probe):
    return socket.AF_INET6 if probe["family"] == "ipv6" else socket.AF_INET


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
            probe.get("dataOffset", 5 + len(options) // 4) << 4,
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
    check = checksum(pseudo + header(0) + options + payload) ^ (0x5555 if probe.get("badChecksum") else 0)
    return header(check) + options + payload


def main():
    pause = float(sys.argv[1])
    sockets = {}
    for line in sys.stdin:
        probe = json.loads(line)
        family = family_of(probe)
        source = probe["source"]
        if source not in sockets:
            sockets[source] = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
            sockets[source].bind((source, 0))
        sockets[source].sendto(segment(probe, family), (probe["destination"], 0))
        if pause:
            time.sleep(pause)


if __name__ == "__main__":
    main()
