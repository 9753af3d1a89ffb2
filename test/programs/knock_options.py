"""Programs that switch stealth on themselves: `SCENARIO ADDRESS`. Each prints what it saw as one JSON line."""

import errno
import json
import socket
import struct
import sys

TCP_STEALTH, TCP_STEALTH_INTEGRITY, TCP_STEALTH_INTEGRITY_LEN = 26, 27, 28
TCP_SAVE_SYN, TCP_SAVED_SYN = 27, 28
ADDRESS = sys.argv[2]
FAMILY = socket.AF_INET6 if ":" in ADDRESS else socket.AF_INET


def attempt(action):
    try:
        return action() or "ok"
    except OSError as error:
        # ENOTSUP is the same number.
        return "EOPNOTSUPP" if error.errno == errno.EOPNOTSUPP else errno.errorcode[error.errno]


def tcp():
    return socket.socket(FAMILY, socket.SOCK_STREAM)


def option(fd, name, value):
    return attempt(lambda: fd.setsockopt(socket.IPPROTO_TCP, name, value))


def listener(secret, port, length=None):
    fd = tcp()
    fd.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    fd.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH, secret)
    if length:
        fd.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH_INTEGRITY_LEN, length)
    fd.bind((ADDRESS, port))
    fd.listen()
    fd.settimeout(2)
    return fd


def reach(secret, port, payload=None, fd=None):
    """'ok' when the handshake is done."""
    fd = fd or tcp()
    # Not settimeout(): after a connect that failed while it did not block, the kernel answers the next with ECONNABORTED.
    fd.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 2, 0))
    fd.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 2, 0))
    fd.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH, secret)
    if payload:
        fd.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH_INTEGRITY, payload)
    return attempt(lambda: fd.connect((ADDRESS, port)))


def errors():
    plain, marked = tcp(), tcp()
    return {
        "integrity first": option(plain, TCP_STEALTH_INTEGRITY, b"payload"),
        "length first": option(plain, TCP_STEALTH_INTEGRITY_LEN, 4),
        "long secret": option(marked, TCP_STEALTH, bytes([1] * 65)),
        "empty secret": option(marked, TCP_STEALTH, b""),
        "zero secret": option(marked, TCP_STEALTH, bytes(64)),
        "short secret": option(marked, TCP_STEALTH, b"short"),
        "no payload": option(marked, TCP_STEALTH_INTEGRITY, b""),
        "long payload": option(marked, TCP_STEALTH_INTEGRITY, bytes([1] * 2000)),
        "longest payload": option(marked, TCP_STEALTH_INTEGRITY, bytes([1] * 1024)),
        "length 0": option(marked, TCP_STEALTH_INTEGRITY_LEN, 0),
        "length 65536": option(marked, TCP_STEALTH_INTEGRITY_LEN, 65536),
        "length 2000": option(marked, TCP_STEALTH_INTEGRITY_LEN, 2000),
        "length 1024": option(marked, TCP_STEALTH_INTEGRITY_LEN, 1024),
        "short length": option(marked, TCP_STEALTH_INTEGRITY_LEN, b"\1\0"),
    }


def mainline():
    """TCP_SAVE_SYN and TCP_SAVED_SYN of a program that knows nothing of Knock (its sockets are no targets)."""
    server = tcp()
    server.bind((ADDRESS, 7001))
    saved = option(server, TCP_SAVE_SYN, 1)
    server.listen()
    client = tcp()
    client.connect((ADDRESS, 7001))
    accepted, _ = server.accept()
    syn = accepted.getsockopt(socket.IPPROTO_TCP, TCP_SAVED_SYN, 512)
    return {
        "set": saved,
        "get": server.getsockopt(socket.IPPROTO_TCP, TCP_SAVE_SYN),
        "version": syn[0] >> 4,
        "congestion": len(client.getsockopt(socket.IPPROTO_TCP, TCP_STEALTH, 64)) >= 0,
    }


def two_secrets():
    one, two = listener(b"one", 7002), listener(b"two", 7003, 4)
    return {
        "one to one": reach(b"one", 7002),
        "two to one": reach(b"two", 7002),
        "two to two": reach(b"two", 7003, b"four"),
        "one to two": reach(b"one", 7003, b"four"),
        "two to two without integrity": reach(b"two", 7003),
        "settings to one": attempt(lambda: tcp().connect((ADDRESS, 7002))),
    }


def changed_between_connects():
    server, fd = listener(b"right", 7004), tcp()
    return {"wrong": reach(b"wrong", 7004, fd=fd), "right": reach(b"right", 7004, fd=fd)}


def changed_while_listening():
    server = listener(b"before", 7005)
    seen = {"before": reach(b"before", 7005)}
    server.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH, b"after")
    seen |= {"old": reach(b"before", 7005), "new": reach(b"after", 7005)}
    server.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH_INTEGRITY_LEN, 4)
    seen |= {"new, unprotected": reach(b"after", 7005), "new, protected": reach(b"after", 7005, b"four")}
    server.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH, b"after")
    return seen | {"cleared": reach(b"after", 7005)}


def other_words():
    """The first write is not what was announced."""
    server, fd = listener(b"secret", 7006, 4), tcp()
    seen = {"connect": reach(b"secret", 7006, b"four", fd), "send": attempt(lambda: fd.send(b"five, not") and None)}
    seen["accept"] = "timeout" if attempt_accept(server) is None else "accepted"
    seen["answer"] = attempt(lambda: fd.recv(1).decode())
    return seen


def announced_words():
    """The announced bytes, in one write and then more."""
    server, fd = listener(b"secret", 7007, 4), tcp()
    seen = {"connect": reach(b"secret", 7007, b"four", fd)}
    fd.sendall(b"four")
    fd.sendall(b" and more")
    accepted = attempt_accept(server)
    fd.shutdown(socket.SHUT_WR)
    seen["got"] = b"".join(iter(lambda: accepted.recv(64), b"")).decode()
    return seen


def attempt_accept(server):
    try:
        return server.accept()[0]
    except TimeoutError:
        return None


SCENARIOS = {
    "errors": errors,
    "mainline": mainline,
    "two-secrets": two_secrets,
    "changed-between-connects": changed_between_connects,
    "changed-while-listening": changed_while_listening,
    "other-words": other_words,
    "announced-words": announced_words,
}

print(json.dumps(SCENARIOS[sys.argv[1]]()))
