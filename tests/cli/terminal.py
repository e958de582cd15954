#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""terminal.py HOW COMMAND...: run the command on a terminal of its own, wait for "ran:", then end
it: by keys (KEYS:text), a signal (SIGTERM...), or taking the terminal away (HANGUP).

Prints the exit status, whether the terminal is as it was, and what the terminal showed."""
import os
import pty
import signal
import sys
import termios
import time


def read_until(fd, word, seconds):
    seen, end = b"", time.monotonic() + seconds
    os.set_blocking(fd, False)
    while word not in seen and time.monotonic() < end:
        try:
            seen += os.read(fd, 4096)
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:
            break
    return seen


def main():
    how, command = sys.argv[1], sys.argv[2:]
    # Ours stays open, so that the settings can be read when the command has gone.
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        for i in range(3):
            os.dup2(slave, i)
        import fcntl
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.closerange(3, 100)
        os.execvp(command[0], command)
    shown = read_until(master, b"ran:", 60)
    raw = termios.tcgetattr(slave) != before
    same = "gone"
    if how == "HANGUP":
        os.close(slave)
        os.close(master)
    elif how.startswith("KEYS:"):
        os.write(master, how[5:].encode().decode("unicode_escape").encode())
    else:
        os.kill(pid, getattr(signal, how))
    end = time.monotonic() + 30
    status = None
    while time.monotonic() < end:
        if how != "HANGUP":
            shown += read_until(master, b"\0never", 0.1)
        done, state = os.waitpid(pid, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(state)
            break
        time.sleep(0.05)
    else:
        os.kill(pid, signal.SIGKILL)
    if how != "HANGUP":
        shown += read_until(master, b"\0never", 0.2)
        same = "restored" if termios.tcgetattr(slave) == before else "changed"
    print(status, "raw" if raw else "cooked", same)
    sys.stderr.write(repr(shown) + "\n")


main()
