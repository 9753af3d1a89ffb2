"""Programs of tcx, which Debian 12's bpftool does not know: `show DEVICE`, `attach DEVICE DIRECTION VERDICT` (a stranger, before
all others) or `detach DEVICE DIRECTION ID`. Of `show`, a line each: DIRECTION ID NAME, in the order in which they run.
"""

import ctypes
import socket
import struct
import sys

TYPES = {"ingress": 46, "egress": 47}
SCHED_CLS = 3
BEFORE = 8
MOST = 64
libbpf = ctypes.CDLL("libbpf.so.1")


def checked(result):
    if result < 0:
        raise OSError(-result, "libbpf")
    return result


def shown(index, direction):
    ids = (ctypes.c_uint32 * MOST)()
    count = ctypes.c_uint32(MOST)
    # A kernel without tcx (6.1) knows no such type.
    if libbpf.bpf_prog_query(index, TYPES[direction], 0, None, ids, ctypes.byref(count)) < 0:
        return
    for program in ids[: count.value]:
        info = (ctypes.c_char * 80)()
        size = ctypes.c_uint32(len(info))
        fd = checked(libbpf.bpf_prog_get_fd_by_id(program))
        checked(libbpf.bpf_obj_get_info_by_fd(fd, info, ctypes.byref(size)))
        yield program, info.raw[64:80].rstrip(b"\0").decode()


def stranger(verdict):
    instructions = struct.pack("<BBhiBBhi", 0xB7, 0, 0, verdict, 0x95, 0, 0, 0)
    return checked(libbpf.bpf_prog_load(SCHED_CLS, b"stranger", b"GPL", instructions, ctypes.c_size_t(2), None))


what, device, *rest = sys.argv[1:]
index = socket.if_nametoindex(device)
if what == "show":
    for direction in TYPES:
        for program, name in shown(index, direction):
            print(direction, program, name)
elif what == "attach":
    options = struct.pack("<QIi", 16, BEFORE, 0)
    checked(libbpf.bpf_prog_attach_opts(stranger(int(rest[1])), index, TYPES[rest[0]], options))
else:
    program = checked(libbpf.bpf_prog_get_fd_by_id(int(rest[1])))
    checked(libbpf.bpf_prog_detach2(program, index, TYPES[rest[0]]))
