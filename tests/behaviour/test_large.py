"""Large things: nothing is lost that the model may want to read, and nobody else waits."""

import io
import zipfile

from talk import FINISH, Others, Talk, memory_kb, run

LINES = 3_000_000  # about 22 MB
GROWTH_KB = 40 * 1024
SECRET = "s3cret-in-the-middle"


def saved_path(result):
    return f"{result.observation['full_output_save_dir']}/terminal_output_"


def test_an_output_of_any_length_can_be_read_whole(server, work):
    """The model gets its two ends and a file; the file has everything, secrets hidden."""
    command = f"seq 1 {LINES // 2}; echo a$TOKEN; seq {LINES // 2 + 1} {LINES}"
    talk = Talk(server, work, [run(command, timeout=100), FINISH], secrets={"TOKEN": SECRET})
    with talk:
        before = memory_kb(server)
        with Others(server):
            assert talk.say() == "finished"
        result = talk.seen()[0]
        assert len(result.text) < 31_000 and result.text.startswith("1\n2\n") and f"\n{LINES}" in result.text
        name = next(line for line in result.text.splitlines() if "terminal_output_" in line)
        path = name[name.index("/tmp/"):name.index(".txt") + 4]
        whole = open(path, encoding="utf-8").read()
        assert SECRET not in whole and "a<secret-hidden>\n" in whole
        numbers = [line for line in whole.splitlines() if line != "a<secret-hidden>"]
        assert len(numbers) == LINES and numbers[LINES // 3] == str(LINES // 3 + 1)
        assert memory_kb(server) - before < GROWTH_KB
        with zipfile.ZipFile(io.BytesIO(server.http.get(f"/api/file/download-trajectory/{talk.id}", timeout=60).content)) as z:
            kept = [n for n in z.namelist() if "/observations/" in n]
            assert len(kept) == 1 and z.read(kept[0]).decode() == whole
