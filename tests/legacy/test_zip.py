"""The 0.53 API: a conversation's workspace as a zip."""

import contextlib
import io
import os
import random
import select
import shutil
import signal
import socket
import stat
import subprocess
import uuid
import zipfile

import httpx
import pytest
from handsd import children

LATEST_S = 60
MB = 1 << 20


def route(conversation):
    return f"/api/conversations/{uuid.UUID(conversation).hex}/zip-directory"


@pytest.fixture
def talk(server, work):
    return server.create(work)


def fetch(server, talk):
    answer = server.legacy.get(route(talk), timeout=LATEST_S)
    assert answer.status_code == 200, answer.text
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def names(archive):
    """Of what the test put there: the workspace is a repository, too."""
    return sorted(name for name in archive.namelist() if not name.startswith(".git/"))


def kind(archive, name):
    return archive.getinfo(name).external_attr >> 16


def descendants(pid):
    found = []
    try:
        for child in children(pid):
            found += [child, *descendants(child)]
    except OSError:
        pass
    return found


def jobs(server):
    """Processes in which hands pack archives, and what else they do beside their loop."""
    found = []
    for pid in descendants(server.process.pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as text:
                found += [pid] if text.read() == "hand-job\n" else []
        except OSError:
            pass
    return found


def ended(pids):
    """Waits for the end of these processes."""
    for pid in pids:
        try:
            ending = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with os.fdopen(ending) as watched:
            assert select.select([watched], [], [], LATEST_S)[0]


def memory_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_everything_below_the_workspace(server, work, talk, tmp_path):
    packable, random_bytes = b"line\n" * 100_000, random.Random(7).randbytes(300_000)
    for name, content in (("a.txt", b"hello"), ("sub/deep/b", packable), ("c.bin", random_bytes), ("empty", b""),
                          (".hidden", b"h"), (".git/config", b"[core]\n"), ("new\nline", b"n"), ("caf\u00e9/\u2603", b"u")):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content)
    (work / "nothing/below").mkdir(parents=True)
    (work / "a.txt").chmod(0o754)
    os.utime(work / "a.txt", (1_000_000_001, 1_000_000_001))
    os.utime(work / "empty", (0, 0))
    with open(os.path.join(os.fsencode(work), b"bad\xff"), "wb") as out:
        out.write(b"x")
    answer = server.legacy.get(route(talk))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="workspace.zip"'
    archive = fetch(server, talk)
    assert {".git/HEAD", ".git/config"} <= set(archive.namelist())
    assert archive.read(".git/config") == b"[core]\n"
    assert names(archive) == sorted([
        "a.txt", "sub/deep/b", "c.bin", "empty", ".hidden", "new\nline", "caf\u00e9/\u2603", "nothing/below/",
        b"bad\xff".decode("cp437")])
    assert archive.comment == b""
    assert archive.read("a.txt") == b"hello" and archive.read("sub/deep/b") == packable
    assert archive.read("c.bin") == random_bytes and archive.read("empty") == b""
    assert archive.read("caf\u00e9/\u2603") == b"u" and archive.getinfo("caf\u00e9/\u2603").flag_bits & 0x800
    assert not archive.getinfo("a.txt").flag_bits & 0x800
    assert kind(archive, "a.txt") == stat.S_IFREG | 0o754
    assert stat.S_ISDIR(kind(archive, "nothing/below/"))
    assert archive.getinfo("a.txt").date_time == (2001, 9, 9, 1, 46, 40)  # of two seconds, in UTC
    assert archive.getinfo("empty").date_time == (1980, 1, 1, 0, 0, 0)
    assert archive.getinfo("sub/deep/b").compress_size < 10_000
    if shutil.which("unzip"):
        (tmp_path / "it.zip").write_bytes(answer.content)
        subprocess.run(["unzip", "-q", "it.zip", "-d", "out"], cwd=tmp_path, check=True)
        assert (tmp_path / "out/sub/deep/b").read_bytes() == packable
        assert (tmp_path / "out/a.txt").stat().st_mtime == 1_000_000_001
        assert stat.S_IMODE((tmp_path / "out/a.txt").stat().st_mode) == 0o754


def test_an_empty_workspace(server, work, talk):
    shutil.rmtree(work / ".git")
    assert fetch(server, talk).namelist() == []


def test_links_stay_links_and_stay_inside(server, work, talk, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    (work / "sub/deep").mkdir(parents=True)
    (work / "sub/file").write_text("x")
    (work / "root-again").symlink_to(".")
    inside = {"to-file": "sub/file", "to-dir": "sub", "sub/deep/up": "../file", "dangling": "missing/x", "loop-free": "root-again/sub",
              "root-again": "."}
    outside = {"absolute": str(work / "sub"), "out": str(tmp_path / "outside"), "up": "../outside/secret",
               "sub/up": "../../outside", "by-link": "root-again/../outside/secret", "by-nothing": "missing/../../outside",
               "again": "by-link", "etc": "root-again/../../../../../../../../../etc/passwd", "self": "self"}
    for name, target in (inside | outside).items():
        if name != "root-again":
            (work / name).symlink_to(target)
    archive = fetch(server, talk)
    links = {name: archive.read(name).decode() for name in archive.namelist() if stat.S_ISLNK(kind(archive, name))}
    assert links == inside
    assert {name for name in names(archive) if name not in links} == {"sub/file"}
    named = {line.split(": ")[0] for line in archive.comment.decode().splitlines()[1:]}
    assert named == set(outside)
    assert b"secret" not in b"".join(archive.read(name) for name in archive.namelist())


def test_what_is_no_file_is_left_out(server, work, talk):
    os.mkfifo(work / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(work / "socket"))
        (work / "file").write_text("x")
        archive = fetch(server, talk)
    assert names(archive) == ["file"] and archive.comment == b""


def test_what_may_not_be_read_is_named(server, work, talk):
    (work / "shut").write_text("x")
    (work / "open").write_text("y")
    (work / "shut").chmod(0)
    if os.access(work / "shut", os.R_OK):
        pytest.skip("root reads everything")
    archive = fetch(server, talk)
    assert names(archive) == ["open"]
    assert archive.comment.startswith(b"Left out:\nshut: ")


def test_too_deep_and_too_large(server, work, talk):
    """They are named; everything else is there."""
    deep = os.open(work, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    with open(work / "sparse", "wb") as sparse:
        sparse.truncate(1 << 40)
    (work / "file").write_text("x")
    archive = fetch(server, talk)
    assert names(archive) == ["file"]
    comment = archive.comment.decode()
    assert "sparse: too large" in comment and ": too deep" in comment


def test_ten_thousand_files(server, work, talk):
    for folder in range(100):
        (work / f"{folder:02}").mkdir()
        for file in range(100):
            (work / f"{folder:02}/{file:02}").write_text(f"{folder} {file}")
    archive = fetch(server, talk)
    assert names(archive) == [f"{n // 100:02}/{n % 100:02}" for n in range(10_000)]
    assert archive.read("42/17") == b"42 17"


def test_a_file_that_grows_and_one_that_shrinks(server, work, talk):
    """The archive is whole; it has what was there when the file was opened."""
    content = random.Random(8).randbytes(64 * MB)
    (work / "log").write_bytes(content)
    with server.legacy.stream("GET", route(talk), timeout=LATEST_S) as answer:
        pieces = answer.iter_raw()
        got = next(pieces)
        with open(work / "log", "ab") as log:
            log.write(b"more")
        got += b"".join(pieces)
    archive = zipfile.ZipFile(io.BytesIO(got))
    assert archive.read("log") == content and archive.comment == b""
    with server.legacy.stream("GET", route(talk), timeout=LATEST_S) as answer:
        pieces = answer.iter_raw()
        got = next(pieces)
        os.truncate(work / "log", 32 * MB)
        got += b"".join(pieces)
    archive = zipfile.ZipFile(io.BytesIO(got))
    kept = archive.read("log")
    assert archive.testzip() is None and content.startswith(kept) and len(kept) >= 32 * MB
    assert len(kept) == 64 * MB or archive.comment.startswith(b"Left out:\nlog: shorter")


def stalled(server, talk):
    """A client that asks, and reads nothing but the head's first line."""
    host, port = server.legacy_url.removeprefix("http://").split(":")
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(LATEST_S)
    s.connect((host, int(port)))
    s.sendall(f"GET {route(talk)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert s.recv(12) == b"HTTP/1.1 200"
    return s


def test_a_client_that_stalls_and_goes(server, work, talk):
    """The hand packs a window ahead and waits, in little memory; others are served; the job ends with the client."""
    piece = random.Random(9).randbytes(MB)
    with open(work / "large", "wb") as large:
        for _ in range(200):
            large.write(piece)
    (work / "small").write_text("x")
    server.legacy.get(f"/api/conversations/{uuid.UUID(talk).hex}/list-files")
    hands = descendants(server.process.pid)
    before = memory_kb(server.process.pid), sum(map(memory_kb, hands))
    clients = [stalled(server, talk) for _ in range(3)]
    packing = jobs(server)
    assert len(packing) == 3
    read = server.legacy.get(f"/api/conversations/{uuid.UUID(talk).hex}/select-file", params={"file": "small"})
    assert read.json() == {"code": "x"}
    assert names(fetch(server, talk)) == ["large", "small"]
    assert memory_kb(server.process.pid) - before[0] < 24 * 1024
    assert sum(map(memory_kb, hands)) - before[1] < 16 * 1024
    assert all(memory_kb(pid) < 16 * 1024 for pid in packing)
    assert set(packing) <= set(jobs(server))
    for client in clients:
        client.close()
    ended(packing)
    assert server.legacy.head(route(talk)).status_code == 200
    ended(jobs(server))


def test_readers_that_stall_leave_room(server, work, talk, tmp_path):
    """So many archives at once and no more; everything else of the conversation, and all of another, goes on."""
    (work / "large").write_bytes(random.Random(10).randbytes(8 * MB))
    other = server.create(tmp_path / "other")
    (tmp_path / "other/file").write_text("x")
    with contextlib.ExitStack() as clients:
        waiting = [clients.enter_context(stalled(server, talk)) for _ in range(8)]
        packing = jobs(server)
        refused = server.legacy.get(route(talk))
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        assert refused.json()["error"].startswith("Error zipping workspace: ")
        listed = server.legacy.get(f"/api/conversations/{uuid.UUID(talk).hex}/list-files")
        assert listed.json() == ["large"]
        changed = server.legacy.get(f"/api/conversations/{uuid.UUID(talk).hex}/git/changes")
        assert changed.json() == [{"status": "A", "path": "large"}]
        assert names(fetch(server, other)) == ["file"]
        # One reads on after all, to the end.
        waiting[0].settimeout(LATEST_S)
        with waiting[0].makefile("rb") as rest:
            while (line := rest.readline()) != b"\r\n":
                assert line
            got = b""
            while size := int(rest.readline(), 16):
                got += rest.read(size)
                assert rest.readline() == b"\r\n"
        archive = zipfile.ZipFile(io.BytesIO(got))
        assert archive.testzip() is None and archive.read("large") == (work / "large").read_bytes()
        assert names(fetch(server, talk)) == ["large"]
    ended(packing)


@pytest.mark.parametrize("victim", ["hand\n", "hand-job\n"])
def test_a_hand_that_dies_cuts_the_answer(make_server, tmp_path, victim):
    """A client can tell that it has not got everything; the next one gets it."""
    server = make_server()
    work = tmp_path / "work"
    talk = server.create(work)
    (work / "large").write_bytes(random.Random(11).randbytes(32 * MB))
    with pytest.raises(httpx.RemoteProtocolError), server.legacy.stream("GET", route(talk), timeout=LATEST_S) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        for pid in descendants(server.process.pid):
            with open(f"/proc/{pid}/comm", encoding="ascii") as text:
                if text.read() == victim:
                    os.kill(pid, signal.SIGKILL)
        for _ in pieces:
            pass
    assert names(fetch(server, talk)) == ["large"]


def test_a_stopped_conversation_and_one_of_the_other_port(server, work, talk):
    (work / "file").write_text("x")
    stopped = server.legacy.post(f"/api/conversations/{uuid.UUID(talk).hex}/stop")
    assert stopped.status_code == 200
    assert names(fetch(server, talk)) == ["file"]


def test_what_is_not_there(server, work, talk):
    for unknown in (uuid.uuid4().hex, "nonsense"):
        answer = server.legacy.get(f"/api/conversations/{unknown}/zip-directory")
        assert answer.status_code == 404
        assert answer.json() == {"detail": f"Conversation {unknown} not found"}
    shutil.rmtree(work)
    answer = server.legacy.get(route(talk))
    assert answer.status_code == 404 and answer.json()["error"].startswith("Error zipping workspace: ")
    work.write_text("a file")
    answer = server.legacy.get(route(talk))
    assert answer.status_code == 400 and answer.json()["error"].startswith("Error zipping workspace: ")
