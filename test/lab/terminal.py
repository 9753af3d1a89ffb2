"""Runs a command on an 80x24 terminal until it has written TEXT so many times, types Ctrl-C, and prints what it wrote as hex.

`COUNT TEXT COMMAND...`. Exit status: that of the command as a shell would say it.
"""

import fcntl
import os
import pty
import struct
import sys
import termios

count, text, command = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3:]
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execvp(command[0], command)
written = b""
typed = False
while True:
    try:
        got = os.read(terminal, 4096)
    except OSError:  # EIO: nobody has the other end any more.
        break
    if not got:
        break
    written += got
    if not typed and written.count(text) >= count:
        os.write(terminal, b"\x03")
        typed = True
_, status = os.waitpid(pid, 0)
print(written.hex())
sys.exit(os.waitstatus_to_exitcode(status) % 256)
