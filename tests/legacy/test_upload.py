"""The 0.53 API: `POST …/upload-files`, files into a conversation's workspace."""

import os
import signal
import socket
import stat
import subprocess
import time
import uuid
from urllib.parse import quote

import httpx
import pytest
from handsd import children

FORM = {"Content-Type": "multipart/form-data; boundary=B"}


def base(conversation):
    return f"/api/conversations/{uuid.UUID(conversation).hex}"


def upload(server, talk, *files, **more):
    """`files` are (name, content)."""
    return server.legacy.post(f"{base(talk)}/upload-files", files=[("files", file) for file in files], **more)


def part(name, content=b"x", field="files"):
    """One of a form whose boundary is B; the name as bytes, unquoted by anybody."""
    return b'--B\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n' % (field.encode(), name, content)


def send(server, talk, form, headers=FORM):
    return server.legacy.post(f"{base(talk)}/upload-files", content=form, headers=headers, timeout=60)


def names(work):
    """In the workspace, which is a repository."""
    return sorted(set(os.listdir(work)) - {".git"})


def peak(server):
    """kB of the server and of its hands, at most so far."""
    total = 0
    for pid in [server.process.pid, *children(server.process.pid)]:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            total += sum(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return total


LARGE = b"torn" * 5_000_000  # when so much has been sent, more than what lies between has reached the disk


def nameless(folder):
    """Can files be there without a name?"""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))
        return True
    except OSError:
        return False


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def talk(server, work):
    return server.create(work)


def test_bytes_are_written_as_they_come(server, work, talk):
    contents = {"a.txt": b"a", "b.bin": bytes(range(256)) * 5000, "empty": b"", "crlf": b"\r\n--B\r\n\xff"}
    answer = upload(server, talk, *contents.items())
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"uploaded_files": [str(work / name) for name in contents], "skipped_files": []}
    assert {name: (work / name).read_bytes() for name in contents} == contents
    assert names(work) == sorted(contents)


def test_what_is_there_is_replaced_and_directories_are_made(server, work, talk):
    (work / "run.sh").write_text("old and longer")
    (work / "run.sh").chmod(0o755)
    given = ["run.sh", "a/b/c.txt", "a/./d//e", "a/../f", str(work / "g/h")]
    answer = send(server, talk, b"".join(part(name.encode(), b"new") for name in given) + b"--B--")
    paths = [str(work / name) for name in ("run.sh", "a/b/c.txt", "a/d/e", "f", "g/h")]
    assert answer.json() == {"uploaded_files": paths, "skipped_files": []}
    for path in paths:
        with open(path, "rb") as file:
            assert file.read() == b"new"
    assert stat.S_IMODE((work / "run.sh").stat().st_mode) == 0o755


def test_many(server, work, talk):
    form = b"".join(part(b"dir%d/%03d" % (i % 7, i), b"%d" % i * 20) for i in range(500)) + b"--B--"
    answer = send(server, talk, form)
    assert len(answer.json()["uploaded_files"]) == 500 and answer.json()["skipped_files"] == []
    for i in range(500):
        assert (work / f"dir{i % 7}/{i:03}").read_bytes() == b"%d" % i * 20
    assert sum(len(os.listdir(work / name)) for name in names(work)) == 500


def test_of_two_with_one_name_the_later_counts(server, work, talk):
    form = part(b"same", b"a" * 600_000) + part(b"./same", b"b") + part(b"other") + part(b"same", b"c") + b"--B--"
    assert send(server, talk, form).json()["skipped_files"] == []
    assert (work / "same").read_bytes() == b"c"


def test_a_large_one_takes_no_memory(make_server, tmp_path):
    server = make_server()
    work = tmp_path / "work"
    talk = server.create(work)
    upload(server, talk, ("first", b"x"))
    before = peak(server)
    piece = bytes(range(256)) * 4096

    def form():
        yield part(b"small")
        yield part(b"large", b"")[:-2]
        for _ in range(300):
            yield piece
        yield b"\r\n" + part(b"last") + b"--B--\r\n"

    answer = send(server, talk, form())
    assert answer.json() == {"uploaded_files": [str(work / name) for name in ("small", "large", "last")], "skipped_files": []}
    assert (work / "large").stat().st_size == 300 * len(piece)
    with open(work / "large", "rb") as large:
        large.seek(-len(piece), os.SEEK_END)
        assert large.read() == piece
    assert peak(server) - before < 16 * 1024
    (work / "large").unlink()


def test_a_slow_hand_holds_the_client_back(make_server, tmp_path):
    server = make_server()
    work = tmp_path / "work"
    talk = server.create(work)
    upload(server, talk, ("first", b"x"))
    before = peak(server)
    form = b"".join(part(b"%d" % i, b"x" * 100_000) for i in range(300)) + part(b"large", b"y" * 30_000_000) + b"--B--"
    head = f"POST {base(talk)}/upload-files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
    left = memoryview(head.encode() + b"Content-Length: %d\r\n\r\n" % len(form) + form)
    address = httpx.URL(server.legacy_url)
    stopped = children(server.process.pid)
    for hand in stopped:
        os.kill(hand, signal.SIGSTOP)
    with socket.create_connection((address.host, address.port), timeout=1) as client:
        with pytest.raises(TimeoutError):  # nobody takes more
            while left:
                left = left[client.send(left):]
        for hand in stopped:
            os.kill(hand, signal.SIGCONT)
        assert len(left) > 30_000_000
        client.settimeout(30)
        client.sendall(left)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert len(names(work)) == 302 and (work / "large").stat().st_size == 30_000_000
    assert peak(server) - before < 16 * 1024


# ---- names ----


@pytest.mark.parametrize(
    "name", ["caf\u00e9", "\u65e5\u672c.txt", "with space", "a;b=c", "back\\slash", "-dash", "%41", "'", "\U0001f600", "new\nline"]
)
def test_odd_names(server, work, talk, name):
    """As RFC 5987 has them, which is `filename*`."""
    head = f"--B\r\nContent-Disposition: form-data; name=\"files\"; filename=\"plain\"; filename*=UTF-8''{quote(name, safe='')}\r\n\r\n"
    answer = send(server, talk, head.encode() + b"x\r\n--B--")
    assert answer.json() == {"uploaded_files": [f"{work}/{name}"], "skipped_files": []}
    assert names(work) == [name]


def test_plain_names_are_bytes(server, work, talk):
    given = ["caf\u00e9".encode(), b"quo\\\"te", b"C:\\dir\\x", b"latin \xe9"]
    answer = send(server, talk, b"".join(map(part, given)) + b"--B--")
    wanted = ["caf\u00e9", 'quo"te', "C:\\dir\\x", "latin \u00e9"]
    assert answer.json() == {"uploaded_files": [f"{work}/{name}" for name in wanted], "skipped_files": []}
    assert names(work) == sorted(wanted)


def test_what_no_file_can_be_is_skipped(server, work, talk, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (work / "dir").mkdir()
    (work / "file").write_text("x")
    os.mkfifo(work / "fifo")
    (work / "out").symlink_to(outside)
    (work / "kept").symlink_to(outside / "kept")
    bad = ["", ".", "..", "dir", "dir/", "new/", "new/..", "../x", "new/../../x", "/etc/x", str(outside / "kept"), "out/x",
           "out/kept", "kept", "file/x", "fifo", "nul\0", "x" * 300, "y/" * 2500 + "z"]
    form = part(b"first") + b"".join(part(name.encode(), b"bad" * 1000) for name in bad) + part(b"last") + b"--B--"
    answer = send(server, talk, form)
    assert answer.status_code == 200, answer.text
    assert answer.json()["uploaded_files"] == [f"{work}/first", f"{work}/last"]
    skipped = answer.json()["skipped_files"]
    assert [one["name"] for one in skipped] == [name[:4095] for name in bad]
    assert all(set(one) == {"name", "reason"} and one["reason"] for one in skipped)
    assert names(work) == ["dir", "fifo", "file", "first", "kept", "last", "out"]
    assert (work / "kept").is_symlink() and (outside / "kept").read_text() == "kept"
    assert os.listdir(outside) == ["kept"] and os.listdir(work / "dir") == []


def test_a_link_inside_leads_to_its_file(server, work, talk):
    (work / "real").mkdir()
    (work / "real/file").write_text("old")
    (work / "link").symlink_to("real/file")
    (work / "whole").symlink_to(work / "real/file")
    (work / "dangling").symlink_to("missing")
    for name in ("link", "whole"):
        assert upload(server, talk, (name, name.encode())).json()["uploaded_files"] == [f"{work}/{name}"]
        assert (work / name).is_symlink() and (work / "real/file").read_text() == name
    assert upload(server, talk, ("dangling", b"new")).json()["uploaded_files"] == [f"{work}/dangling"]
    assert (work / "dangling").read_text() == "new"


def test_a_target_that_cannot_be_written(server, work, talk):
    """Root may write everywhere, so it is a place where nobody may."""
    if os.geteuid() == 0:
        talk = server.create("/proc/self")
    else:
        work.chmod(0o555)
    answer = upload(server, talk, ("a", b"a" * 600_000), ("b", b"b"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["uploaded_files"] == []
    assert [one["name"] for one in answer.json()["skipped_files"]] == ["a", "b"]


def test_a_full_disk_skips_what_does_not_fit(server, work, talk):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", work], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        answer = upload(server, talk, ("small", b"s"), ("large", b"l" * 3_000_000), ("other", b"o"))
        assert answer.json()["uploaded_files"] == [f"{work}/small", f"{work}/other"]
        (skipped,) = answer.json()["skipped_files"]
        assert skipped == {"name": "large", "reason": "large: No space left on device"}
        assert names(work) == ["other", "small"]
    finally:
        subprocess.run(["umount", "-l", work], check=True)


def test_a_hand_that_dies_takes_one_file_along(make_server, tmp_path):
    server = make_server()
    work = tmp_path / "work"
    talk = server.create(work)

    def form():
        yield part(b"before")
        yield part(b"torn", LARGE)[:-2]
        until(lambda: (work / "before").exists())
        for hand in children(server.process.pid):
            os.kill(hand, signal.SIGKILL)
        yield b"t" * 600_000 + b"\r\n" + part(b"after") + b"--B--"

    answer = send(server, talk, form())
    assert answer.json()["uploaded_files"] == [f"{work}/before", f"{work}/after"]
    (skipped,) = answer.json()["skipped_files"]
    assert skipped["name"] == "torn" and skipped["reason"]
    assert (work / "after").read_bytes() == b"x" and not (work / "torn").exists()
    assert names(work) == ["after", "before"] or not nameless(work)


# ---- forms ----


def test_bad_forms(server, work, talk):
    cases = [
        (b"--B--", FORM, 422),
        (part(b"f", field="file") + b"--B--", FORM, 422),
        (b'--B\r\nContent-Disposition: form-data; name="files"\r\n\r\ntext\r\n--B--', FORM, 422),
        (b"{}", {"Content-Type": "application/json"}, 422),
        (b"files=x", {"Content-Type": "application/x-www-form-urlencoded"}, 422),
        (part(b"f") + b"--B--", {}, 422),
        (part(b"f") + b"--B--", {"Content-Type": "multipart/form-data"}, 422),
        (part(b"f")[:-3], FORM, 400),
        (b"", FORM, 400),
        (b"--B\r\nX: " + b"y" * 20_000, FORM, 400),
    ]
    for form, headers, status in cases:
        answer = send(server, talk, form, headers)
        assert answer.status_code == status, (form[:100], answer.text)
        if status == 422:
            assert answer.json()["detail"][0]["loc"] == ["body", "files"]
    assert send(server, talk, b"--B--").json()["detail"][0]["type"] == "missing"
    assert names(work) == []
    big = send(server, talk, b"".join(part(b"%d" % i, b"") for i in range(1001)) + b"--B--")
    assert big.status_code == 400 and "detail" in big.json()


def test_other_fields_are_passed_over(server, work, talk):
    form = part(b"no", b"n" * 100_000, field="other") + part(b"yes") + part(b"no", field="") + b"--B--"
    assert send(server, talk, form).json() == {"uploaded_files": [f"{work}/yes"], "skipped_files": []}
    assert names(work) == ["yes"]


def test_what_came_whole_stays_when_the_form_is_cut(server, work, talk):
    (work / "torn").write_text("old")
    form = part(b"whole", b"w" * 400_000) + part(b"torn", b"new" * 100_000)[:-2]
    assert send(server, talk, form).status_code == 400
    assert names(work) == ["torn", "whole"]
    assert (work / "whole").read_bytes() == b"w" * 400_000 and (work / "torn").read_text() == "old"


def test_a_client_that_goes_away(server, work, talk):
    address = httpx.URL(server.legacy_url)
    (work / "torn").write_text("old")
    with socket.create_connection((address.host, address.port)) as client:
        head = f"POST {base(talk)}/upload-files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        client.sendall(head.encode() + b"Content-Length: 99999999\r\n\r\n" + part(b"whole") + part(b"torn", LARGE)[:-2])
        until((work / "whole").exists)
    until(lambda: names(work) == ["torn", "whole"])
    assert (work / "torn").read_text() == "old"


# ---- conversations ----


def test_conversations_of_every_kind(make_server, tmp_path):
    """Made here or on port 8000, in use, stopped, or stored by an earlier server: for all routes of files and git."""
    server = make_server(env={"LLM_MODEL": "scripted/finish", "OH_WORKSPACE_PATH": str(tmp_path / "house")})
    here = server.legacy.post("/api/conversations", json={}).json()["conversation_id"]
    there = server.create(tmp_path / "there")
    for talk, name in ((here, "one"), (there, "two")):
        for i, prepare in enumerate((lambda: None, lambda: server.legacy.post(f"{base(talk)}/stop"), lambda: restart(server))):
            prepare()
            answer = upload(server, talk, (f"{name}{i}", name.encode()))
            assert answer.status_code == 200, answer.text
            (path,) = answer.json()["uploaded_files"]
            with open(path, "rb") as file:
                assert file.read() == name.encode()
            assert f"{name}{i}" in server.legacy.get(f"{base(talk)}/list-files").json()
            assert server.legacy.get(f"{base(talk)}/select-file", params={"file": f"{name}{i}"}).json() == {"code": name}
            assert {"status": "A", "path": f"{name}{i}"} in server.legacy.get(f"{base(talk)}/git/changes").json()
            diff = server.legacy.get(f"{base(talk)}/git/diff", params={"path": f"{name}{i}"})
            assert diff.json() == {"modified": name, "original": ""}


def restart(server):
    server.stop()
    server.start()


@pytest.mark.parametrize("unknown", [uuid.uuid4().hex, "nonsense"])
def test_unknown_conversations(server, unknown):
    for files in ([("files", ("a", b"x" * 500_000))], None):
        answer = server.legacy.post(f"/api/conversations/{unknown}/upload-files", files=files)
        assert answer.status_code == 404
        assert answer.json() == {"detail": f"Conversation {unknown} not found"}


def test_a_key_is_needed(make_server, tmp_path):
    server = make_server(key="secret-key")
    talk = server.create(tmp_path / "work")
    with httpx.Client(base_url=server.legacy_url) as stranger:
        assert stranger.post(f"{base(talk)}/upload-files", files={"files": ("a", b"x")}).status_code == 401
    assert not (tmp_path / "work" / "a").exists()
    assert upload(server, talk, ("a", b"x")).json()["uploaded_files"] == [f"{tmp_path}/work/a"]
