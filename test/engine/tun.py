"""The far end of a tun interface, which has no link-layer header: answers one SYN, prints what it got as hex.

Its SYN+ACK echoes TSval in a timestamp option at an odd offset, as no Linux peer would.
"""

import fcntl
import os
import select
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
TCP = 6
SYN, SYN_ACK = 0x02, 0x12

name, *addresses = sys.argv[1:]


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def split(packet):
    """Source, destination, TCP segment."""
    if packet[0] >> 4 == 4:
        return packet[12:16], packet[16:20], packet[(packet[0] & 15) * 4 :] if packet[9] == TCP else b""
    return packet[8:24], packet[24:40], packet[40:] if packet[6] == TCP else b""


def answer(source, destination, segment):
    source_port, destination_port, sequence = struct.unpack("!HHI", segment[:8])
    tsval = segment[segment.index(b"\x08\x0a") + 2 :][:4]
    options = b"\x01\x08\x0a" + b"\0\0\0\x01" + tsval + b"\0"
    fixed = (destination_port, source_port, 1000, (sequence + 1) & 0xFFFFFFFF, (8 << 4), SYN_ACK, 64240)
    pseudo = destination + source + struct.pack("!IHBB", 32, 0, 0, TCP)
    reply = struct.pack("!HHIIBBHHH", *fixed, 0, 0) + options
    reply = struct.pack("!HHIIBBHHH", *fixed, checksum(pseudo + reply), 0) + options
    if len(source) == 16:
        return struct.pack("!IHBB", 0x60000000, len(reply), TCP, 64) + destination + source + reply
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(reply), 0, 0, 64, TCP, 0) + destination + source
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + reply


tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
for address in addresses:
    subprocess.run(["ip", "addr", "add", address, "dev", name, "nodad"], check=True)
subprocess.run(["ip", "link", "set", name, "up"], check=True)
print("ready", flush=True)

asked = b""
while select.select([tun], [], [], 20)[0]:
    packet = os.read(tun, 2048)
    source, destination, segment = split(packet)
    if not segment:
        continue
    if segment[13] == SYN:
        asked = source + segment[:4]
    # A connection of an earlier interface of this name may still send its FIN, which nobody acknowledges.
    if source + segment[:4] != asked:
        continue
    pseudo = source + destination + struct.pack("!IHBB", len(segment), 0, 0, TCP)
    print(packet.hex(), "good" if checksum(pseudo + segment) == 0 else "bad", flush=True)
    if segment[13] == SYN:
        os.write(tun, answer(source, destination, segment))
