"""A real terminal for tests: a tmux server of its own, which is ended with the test."""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

POLL_S = 0.05
WAIT_S = 20  # a bound, not a wait

# Its process id and exit status go into files, and the window stays as the program left it. (tmux tells the status, too, but
# not always: it can miss its child's end.)
WRAPPER = """trap : INT; sh -c 'echo $$ >pid; exec env "$@"' sh "$@"; echo $? >status.new; mv status.new status; exec sleep 1000"""


class Terminal:
    """`with Terminal(["handsd", "run"], width=40) as t: t.wait("finished"); t.screen()`"""

    def __init__(self, command, *, width=100, height=50, env=None, cwd=None):
        self.command = [str(part) for part in command]
        self.width, self.height = width, height
        self.env = {"LANG": "C.UTF-8", **(env or {})}
        self.cwd = str(cwd or "/")
        self.socket = f"handsd-test-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def tmux(self, *args):
        return subprocess.run(["tmux", "-L", self.socket, "-f", "/dev/null", *map(str, args)], env=self.outer, text=True,
                              capture_output=True, check=True, timeout=WAIT_S).stdout

    @property
    def outer(self):
        kept = {k: v for k, v in os.environ.items()
                if not k.startswith(("OH_", "SESSION_API", "LLM_", "OPENAI_", "OPENHANDS_", "TMUX", "LC_", "NO_COLOR"))}
        return {**kept, "LANG": "C.UTF-8", "SHELL": "/bin/sh"}

    def __enter__(self):
        self.files = Path(tempfile.mkdtemp(prefix="terminal-"))
        wrapper = WRAPPER.replace(">pid", f">{self.files}/pid").replace("status", f"{self.files}/status")
        inner = ["sh", "-c", wrapper, "sh", *(f"{k}={v}" for k, v in self.env.items()), *self.command]
        self.tmux("new-session", "-d", "-x", self.width, "-y", self.height, "-c", self.cwd, "exec " + shlex.join(inner), ";",
                  "set-option", "-g", "history-limit", "10000")
        return self

    def __exit__(self, *_):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], env=self.outer, capture_output=True, timeout=WAIT_S)
        shutil.rmtree(self.files, ignore_errors=True)

    def screen(self, styles=False):
        """What stands in the window and above it, without empty lines at the end."""
        return self.tmux("capture-pane", "-p", "-S", "-", *(["-e"] if styles else [])).rstrip() + "\n"

    def send(self, *keys):
        """Names of keys as tmux knows them: Enter, C-c."""
        self.tmux("send-keys", *keys)

    def type(self, text, enter=True):
        self.tmux("send-keys", "-l", text)
        if enter:
            self.send("Enter")

    def resize(self, width, height=None):
        self.tmux("resize-window", "-x", width, "-y", height or self.height)

    def wait_for(self, condition, what):
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            screen = self.screen()
            if condition(screen):
                return screen
            time.sleep(POLL_S)
        raise AssertionError(f"{what} did not come; the screen is:\n{self.screen()}")

    def wait(self, text, times=1):
        """The screen, once `text` stands on it."""
        return self.wait_for(lambda screen: screen.count(text) >= times, repr(text))

    def pid(self):
        return int((self.files / "pid").read_text())

    def exit_status(self):
        """Waits until the program has ended."""
        self.wait_for(lambda _: (self.files / "status").exists(), "the program's end")
        return int((self.files / "status").read_text())
