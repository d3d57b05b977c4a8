"""Files in and out: a client's bytes arrive as they were sent, in flat memory, and nothing odd hangs anybody."""

import os
import socket
import stat
import threading
import time
from urllib.parse import quote

import httpx
import pytest
from handsd import children

MB = 1 << 20


def upload(server, path, content, name="a.txt", **more):
    return server.http.post("/api/file/upload", params={"path": str(path)}, files={"file": (name, content)}, **more)


def download(server, path):
    return server.http.get("/api/file/download", params={"path": str(path)})


def rss(server, what="VmRSS"):
    """kB of the server and of its hands."""
    total = 0
    for pid in [server.process.pid, *children(server.process.pid)]:
        try:
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                total += sum(int(line.split()[1]) for line in status if line.startswith(what))
        except OSError:
            pass
    return total


# ---- in and out ----


@pytest.mark.parametrize("size", [0, 1, 65536, 5 * MB + 7])
def test_a_file_comes_back_as_it_was_sent(server, tmp_path, size):
    content = os.urandom(size)
    path = tmp_path / "new" / "deep" / "file.bin"
    answer = upload(server, path, content)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert path.read_bytes() == content
    answer = download(server, path)
    assert answer.status_code == 200
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="file.bin"'
    assert size == 0 or answer.headers["content-length"] == str(size)


def test_an_upload_replaces_and_keeps_the_mode(server, tmp_path):
    path = tmp_path / "run.sh"
    path.write_text("old and longer")
    path.chmod(0o755)
    assert upload(server, path, b"new").status_code == 200
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_paths_in_the_path(server, tmp_path):
    path = tmp_path / "in the path.txt"
    for form in (f"/{path}", str(path)):  # with the double slash, and without
        target = "/api/file/upload" + quote(form)
        assert server.http.post(target, files={"file": ("x", form.encode())}).json() == {"success": True}
        assert path.read_text() == form
        assert server.http.get("/api/file/download" + quote(form)).content == form.encode()


def test_other_fields_of_the_form_are_ignored(server, tmp_path):
    answer = server.http.post(
        "/api/file/upload",
        params={"path": str(tmp_path / "f")},
        data={"note": "x" * 200_000, "file_size": "3"},
        files={"file": ("f", b"abc"), "other": ("o", b"no")},
    )
    assert answer.json() == {"success": True}
    assert (tmp_path / "f").read_bytes() == b"abc"


@pytest.mark.parametrize("name", ["with space", "line\nbreak", "quo\"te", "ünïcödé", "%41", "a;b=c", "back\\slash"])
def test_names(server, tmp_path, name):
    path = tmp_path / name
    assert upload(server, path, b"x").status_code == 200
    assert os.listdir(tmp_path) == [name]
    answer = download(server, path)
    assert answer.content == b"x"
    disposition = answer.headers["content-disposition"]
    assert "\n" not in disposition
    plain = name.isascii() and not set(name) & set('"\\%\n')
    assert plain or disposition.endswith("filename*=utf-8''" + quote(name, safe="#$&+-.^_`|~!"))


def test_a_workspace_is_served_by_its_own_hand(server, tmp_path):
    server.create(tmp_path)
    before = set(children(server.process.pid))
    assert upload(server, tmp_path / "a" / "b", b"x").status_code == 200
    assert (tmp_path / "a" / "b").read_bytes() == b"x"
    assert len(set(children(server.process.pid)) - before) <= 1


# ---- what is refused ----


def test_bad_paths(server, tmp_path):
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("x")
    cases = [
        ("relative/path", 400, "Path must be absolute"),
        ("", 400, "Path must be absolute"),
        (str(tmp_path / "missing"), 404, "File not found"),
        (str(tmp_path / "file" / "below"), 404, "File not found"),
        (str(tmp_path / "dir"), 400, "Path is not a file"),
        (str(tmp_path / "fifo"), 400, "Path is not a file"),
        ("/dev/zero", 400, "Path is not a file"),
        ("/dev/tty", 400, "Path is not a file"),
        ("/" + "x" * 5000, 400, None),
        ("/a\0b", 400, None),
    ]
    for path, status, detail in cases:
        answer = download(server, path)
        assert (path, answer.status_code) == (path, status)
        assert detail is None or answer.json() == {"detail": detail}
    for path in ("relative", str(tmp_path / "fifo"), "/dev/null", str(tmp_path / "dir"), str(tmp_path / "file" / "x"), "/a\0b", "/"):
        answer = upload(server, path, b"x")
        assert 400 <= answer.status_code < 500, (path, answer.text)
    assert server.http.get("/api/file/download").status_code == 422
    for raw in ("?path=/%ff%fe", "/tmp/%ff", "/tmp/a%00b"):
        assert server.http.get("/api/file/download" + raw).status_code in (400, 422)
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_bad_forms(server, tmp_path):
    path = {"path": str(tmp_path / "target")}
    post = server.http.post
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    form = {"Content-Type": "multipart/form-data; boundary=B"}
    cases = [
        (post("/api/file/upload", params=path), 422),
        (post("/api/file/upload", params=path, json={}), 422),
        (post("/api/file/upload", params=path, files={"other": ("x", b"x")}), 422),
        (post("/api/file/upload", params=path, files=[("file", ("a", b"1")), ("file", ("b", b"2"))]), 422),
        (post("/api/file/upload", params=path, content=b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--B--', headers=form), 422),
        (post("/api/file/upload", params=path, content=head + b"cut off", headers=form), 400),
        (post("/api/file/upload", params=path, content=b"--C\r\n\r\n--C--", headers=form), 400),
        (post("/api/file/upload", params=path, content=b"--B\r\n" + b"X: " + b"y" * 20_000, headers=form), 400),
        (post("/api/file/upload", files={"file": ("x", b"x")}), 422),
    ]
    for answer, status in cases:
        assert answer.status_code == status, answer.text
        assert "detail" in answer.json()
    assert os.listdir(tmp_path) == []  # a form that is not whole leaves nothing behind


def test_an_upload_that_is_broken_off_leaves_the_old_file(server, tmp_path):
    path = tmp_path / "kept"
    path.write_text("old")
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port)) as client:
        body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"new" * 7_000_000
        client.sendall(
            b"POST /api/file/upload?path=" + quote(str(path)).encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 99999999\r\n\r\n" + body
        )  # more than what lies between: the hand has begun to write
    for _ in range(500):
        if os.listdir(tmp_path) == ["kept"]:
            break
        time.sleep(0.01)
    assert os.listdir(tmp_path) == ["kept"]
    assert path.read_text() == "old"


def test_a_key_is_needed(make_server, tmp_path):
    server = make_server(key="secret-key")
    (tmp_path / "f").write_text("x")
    with httpx.Client(base_url=server.url) as stranger:
        assert stranger.get("/api/file/download", params={"path": str(tmp_path / "f")}).status_code == 401
        assert stranger.post("/api/file/upload", params={"path": str(tmp_path / "g")}, files={"file": b"x"}).status_code == 401
    assert os.listdir(tmp_path) in (["f"], ["data0", "f"], ["f", "data0"])
    assert download(server, tmp_path / "f").text == "x"


# ---- large things ----


def test_a_large_upload_takes_no_memory(make_server, tmp_path):
    server = make_server()
    upload(server, tmp_path / "first", b"x")
    before = rss(server, "VmHWM")
    piece = bytes(range(256)) * 4096
    count = 300

    def form():
        yield b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(count):
            yield piece
        yield b"\r\n--B--\r\n"

    answer = server.http.post(
        "/api/file/upload", params={"path": str(tmp_path / "large")}, content=form(), timeout=60,
        headers={"Content-Type": "multipart/form-data; boundary=B"},
    )
    assert answer.json() == {"success": True}
    assert (tmp_path / "large").stat().st_size == count * len(piece)
    with open(tmp_path / "large", "rb") as large:
        large.seek(-len(piece), os.SEEK_END)
        assert large.read() == piece
    assert rss(server, "VmHWM") - before < 16 * 1024
    (tmp_path / "large").unlink()


def test_a_stalled_download_holds_one_window_and_delays_nobody(make_server, tmp_path):
    server = make_server()
    size = 1 << 30
    with open(tmp_path / "sparse", "wb") as sparse:
        sparse.truncate(size)
    (tmp_path / "small").write_bytes(b"small")
    assert download(server, tmp_path / "small").content == b"small"
    before = rss(server)
    address = httpx.URL(server.url)
    stalled = []
    for _ in range(4):
        client = socket.create_connection((address.host, address.port))
        client.sendall(
            b"GET /api/file/download?path=" + quote(str(tmp_path / "sparse")).encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert client.recv(12) == b"HTTP/1.1 200"
        stalled.append(client)
    with server.http.stream("GET", "/api/file/download", params={"path": str(tmp_path / "sparse")}) as answer:
        assert answer.headers["content-length"] == str(size)
        got = 0
        for n, data in enumerate(answer.iter_raw(1 << 20)):
            got += len(data)
            if n % 64 == 0:  # the same hand, meanwhile
                started = time.monotonic()
                with httpx.Client(base_url=server.url) as other:
                    assert other.get("/api/file/download", params={"path": str(tmp_path / "small")}).content == b"small"
                assert time.monotonic() - started < 5
            if got > size // 4:
                break
    assert rss(server) - before < 24 * 1024
    for client in stalled:
        client.close()
    assert download(server, tmp_path / "small").content == b"small"


def test_a_file_that_shrinks_or_grows_meanwhile(server, tmp_path):
    path = tmp_path / "changing"
    size = 64 * MB
    for new_size in (1 * MB, 2 * size):
        with open(path, "wb") as out:
            out.truncate(size)
        with server.http.stream("GET", "/api/file/download", params={"path": str(path)}) as answer:
            assert answer.headers["content-length"] == str(size)
            os.truncate(path, new_size)
            if new_size > size:
                assert sum(len(data) for data in answer.iter_raw()) == size
            else:  # cut, so that nobody takes it for whole
                with pytest.raises(httpx.RemoteProtocolError):
                    sum(len(data) for data in answer.iter_raw())


def test_files_without_a_size(server):
    answer = download(server, "/proc/self/status")
    assert answer.status_code == 200
    assert "VmRSS" in answer.text


def test_head(server, tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 1000)
    answer = server.http.head("/api/file/download", params={"path": str(tmp_path / "f")})
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "1000", b"")


def test_many_at_once(server, tmp_path):
    content = os.urandom(300_000)
    failed = []

    def one(i):
        with httpx.Client(base_url=server.url, timeout=60) as client:
            path = str(tmp_path / f"{i}")
            client.post("/api/file/upload", params={"path": path}, files={"file": ("x", content)})
            if client.get("/api/file/download", params={"path": path}).content != content:
                failed.append(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


# ---- directories ----


def test_create_directory(server, tmp_path):
    target = tmp_path / "a" / "b"
    for _ in range(2):  # one that is there is fine
        answer = server.http.post("/api/file/create_directory", params={"path": str(target)})
        assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert target.is_dir()
    (tmp_path / "file").write_text("x")
    for path, status, detail in [
        ("relative", 400, "Path must be absolute"),
        (str(tmp_path / "file"), 400, "Path exists and is not a directory"),
        (str(tmp_path / "file" / "below"), 400, "Path exists and is not a directory"),
    ]:
        answer = server.http.post("/api/file/create_directory", params={"path": path})
        assert (answer.status_code, answer.json()) == (status, {"detail": detail})


def test_search_subdirs(server, tmp_path):
    for name in ["beta", "Alpha", "gamma", ".hidden", "delta"]:
        (tmp_path / name).mkdir()
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "beta")

    def search(**query):
        return server.http.get("/api/file/search_subdirs", params={"path": str(tmp_path), **query})

    names, page = [], None
    while True:
        answer = search(limit=2, **({"page_id": page} if page else {})).json()
        assert all(item["path"] == str(tmp_path / item["name"]) for item in answer["items"])
        names.append([item["name"] for item in answer["items"]])
        page = answer["next_page_id"]
        if not page:
            break
    assert names == [["Alpha", "beta"], ["delta", "gamma"]]
    assert search(include_hidden=True).json()["items"][0]["name"] == ".hidden"
    assert search(limit=101).status_code == 422
    assert search(path=str(tmp_path / "no")).json() == {"detail": "Directory not found"}
    assert search(path=str(tmp_path / "file")).json() == {"detail": "Path is not a directory"}
    assert search(path="no").json() == {"detail": "Path must be absolute"}


def test_subdirs_whose_names_differ_in_case_only(server, tmp_path):
    expected = ["NAME", "Name", "name", "other"]
    for name in expected:
        (tmp_path / name).mkdir()
    names, page = [], None
    while page or not names:
        query = {"path": str(tmp_path), "limit": 1, **({"page_id": page} if page else {})}
        answer = server.http.get("/api/file/search_subdirs", params=query).json()
        names += [item["name"] for item in answer["items"]]
        page = answer["next_page_id"]
        assert len(names) <= len(expected)
    assert names == expected


def test_home(make_server, tmp_path):
    for name in ["work", ".cache"]:
        (tmp_path / "home" / name).mkdir(parents=True)
    server = make_server(env={"HOME": str(tmp_path / "home")})
    home = str(tmp_path / "home")
    assert server.http.get("/api/file/home").json() == {
        "home": home,
        "favorites": [{"label": "work", "path": home + "/work"}],
        "locations": [{"label": "/", "path": "/"}],
    }
    assert len(server.http.get("/api/file/home", params={"include_hidden": True}).json()["favorites"]) == 2
