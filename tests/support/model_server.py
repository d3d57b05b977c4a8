"""The tests' own model server (openai_server.py) as a process to start, script and ask."""

import subprocess
import sys
from pathlib import Path

import httpx

from handsd import ROOT


class ModelServer:
    """The local OpenAI-shaped server: what it will answer, and what it was asked."""

    def __init__(self, pem=None):
        """With `pem`, a file with key and certificate, it speaks TLS."""
        command = [sys.executable, Path(ROOT) / "tests" / "support" / "openai_server.py", "--until-eof"]
        self.process = subprocess.Popen(command + (["--tls", pem] if pem else []),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"{'https' if pem else 'http'}://127.0.0.1:{int(self.process.stdout.readline())}"
        self.http = httpx.Client(base_url=self.url, timeout=60, verify=False)

    def plays(self, *answers, default=None):
        self.http.post("/reset").raise_for_status()
        script = {"answers": list(answers), **({"default": default} if default else {})}
        self.http.post("/script", json=script).raise_for_status()

    def requests(self, **until):
        """Chat requests so far; wait=N: once there are N; gone=N: once N clients have gone away early."""
        answer = self.http.get("/requests", params=until)
        answer.raise_for_status()
        return answer.json()

    def close(self):
        self.http.close()
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
