"""`handsd run` in a real terminal."""

import pytest

from handsd import HANDSD, write_script
from terminal import Terminal


@pytest.fixture
def start(tmp_path):
    """Starts `handsd run` in a terminal; the model plays `lines`."""
    opened = []

    def run(lines, *args, name="play", width=100, height=50, env=None, task="Go."):
        write_script(tmp_path / "scripts", name, lines)
        (tmp_path / "work").mkdir(exist_ok=True)
        shown = Terminal([HANDSD, "run", *([task] if task else []), "--model", f"scripted/{name}", "--data", tmp_path / "data",
                          "--scripts", tmp_path / "scripts", "--workspace", tmp_path / "work", *args],
                         width=width, height=height, env=env, cwd=tmp_path)
        opened.append(shown)
        return shown.__enter__()

    yield run
    for one in opened:
        one.__exit__()
