"""Both APIs against workspaces that are somebody else's: links that change under the hand, repositories with traps."""

import contextlib
import ctypes
import io
import os
import shutil
import subprocess
import threading
import uuid
import zipfile

import pytest

AT_FDCWD = -100
RENAME_EXCHANGE = 2


def base(conversation):
    return f"/api/conversations/{uuid.UUID(conversation).hex}"


@pytest.fixture
def talk(server, work):
    return server.create(work)


class Swapping:
    """Two names that are exchanged, atomically, as fast as it goes."""

    def __init__(self, one, other, libc=ctypes.CDLL(None, use_errno=True)):
        self.names = [os.fsencode(one), os.fsencode(other)]
        self.libc = libc
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        if not hasattr(libc, "renameat2") or self.swap():
            pytest.skip("names cannot be exchanged here")

    def swap(self):
        return self.libc.renameat2(AT_FDCWD, self.names[0], AT_FDCWD, self.names[1], RENAME_EXCHANGE)

    def run(self):
        while not self.over.is_set():
            self.swap()

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


@pytest.fixture
def trap(tmp_path, work, talk):
    """In the workspace `d` and `e` are a directory and a link that leads out; both have a `file`."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("secret")
    (tmp_path / "outside/only-outside").write_text("secret")
    (work / "d").mkdir()
    (work / "d/file").write_text("inside")
    (work / "e").symlink_to(tmp_path / "outside")
    return Swapping(work / "d", work / "e")


def test_select_and_list_while_a_directory_becomes_a_link(server, talk, trap):
    seen = set()
    with trap:
        for _ in range(100):
            read = server.legacy.get(f"{base(talk)}/select-file", params={"file": "d/file"})
            listed = server.legacy.get(f"{base(talk)}/list-files", params={"path": "d"})
            page = server.http.get(f"/api/conversations/{talk}/workspace/d/file")
            seen |= {(answer.status_code, answer.text) for answer in (read, listed, page)}
    assert {status for status, _ in seen} <= {200, 400, 403, 404}, seen
    assert not any("secret" in text or "only-outside" in text for _, text in seen), seen
    assert any(text == '{"code":"inside"}' for _, text in seen)


def test_diff_while_a_directory_becomes_a_link(server, talk, trap):
    with trap:
        for _ in range(15):
            answer = server.legacy.get(f"{base(talk)}/git/diff", params={"path": "d/file"})
            assert answer.status_code in (200, 403, 404) and "secret" not in answer.text, answer.text


def test_zip_while_a_directory_becomes_a_link(server, work, talk, trap):
    for i in range(200):
        (work / f"file{i}").symlink_to(work / "d/file") if i % 2 else (work / f"file{i}").write_text("x")
    with trap:
        for _ in range(15):
            answer = server.legacy.get(f"{base(talk)}/zip-directory")
            archive = zipfile.ZipFile(io.BytesIO(answer.content))
            assert archive.testzip() is None
            assert not any("only-outside" in name for name in archive.namelist())
            assert all(archive.read(name) != b"secret" for name in archive.namelist())


def test_upload_while_a_directory_becomes_a_link(server, work, talk, trap, tmp_path):
    written = 0
    with trap:
        for i in range(60):
            answer = server.legacy.post(f"{base(talk)}/upload-files", files=[("files", (f"d/up{i}/f", b"new")), ("files", ("d/file", b"new"))])
            assert answer.status_code == 200, answer.text
            written += len(answer.json()["uploaded_files"])
    assert written
    assert sorted(os.listdir(tmp_path / "outside")) == ["file", "only-outside"]
    assert (tmp_path / "outside/file").read_text() == "secret"


def test_a_file_that_becomes_a_link(server, work, talk, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (work / "f").write_text("inside")
    (work / "g").symlink_to(tmp_path / "secret")
    with Swapping(work / "f", work / "g"):
        for i in range(60):
            read = server.legacy.get(f"{base(talk)}/select-file", params={"file": "f"})
            assert read.status_code in (200, 403) and "secret" not in read.text, read.text
            server.legacy.post(f"{base(talk)}/upload-files", files=[("files", ("f", b"inside"))])
            if i % 10 == 0:
                archive = zipfile.ZipFile(io.BytesIO(server.legacy.get(f"{base(talk)}/zip-directory").content))
                assert all(archive.read(name) != b"secret" for name in archive.namelist())
    assert (tmp_path / "secret").read_text() == "secret"


# ---- repositories ----


def git(repo, *args):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "protocol.file.allow=always"]
    return subprocess.run(["git", *identity, *args], cwd=repo, env=environment, check=True, capture_output=True, text=True)


@pytest.fixture
def clone(tmp_path, work):
    """`work` is a clone of a repository with a few files."""
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "-q", "-b", "main")
    git(origin, "config", "uploadpack.allowFilter", "true")
    for name in ("a", "b", "-dash"):
        (origin / name).write_text(f"{name}\n")
    git(origin, "add", "-A")
    git(origin, "commit", "-qm", "first")
    git(tmp_path, "clone", "-q", str(origin), str(work))
    return work


@pytest.fixture
def snare(tmp_path):
    """A program that leaves a trace when it is run."""
    path = tmp_path / "snare"
    path.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    path.chmod(0o755)
    yield path
    assert not (tmp_path / "sprung").exists()


def changes(server, talk):
    answer = server.legacy.get(f"{base(talk)}/git/changes")
    assert answer.status_code == 200, answer.text
    return [(item["status"], item["path"]) for item in answer.json()]


def diff(server, talk, path):
    return server.legacy.get(f"{base(talk)}/git/diff", params={"path": path})


def test_a_configuration_that_is_included(server, clone, talk, snare):
    lines = [f'[filter "{name}"]\n clean = {snare}\n process = {snare}\n required = true\n' for name in ("x", "Y.z", "")]
    commands = "".join(f" {name} = !{snare}\n" for name in ("diff", "rev-parse", "ls-files", "cat-file", "status"))
    (clone / ".git/more").write_text(
        "".join(lines).replace("[filter \"Y", "[FILTER \"Y") + f"[core]\n fsmonitor = {snare}\n pager = {snare}\n[alias]\n{commands}")
    git(clone, "config", "include.path", "more")
    (clone / ".gitattributes").write_text("a filter=x\nb filter=Y.z\n-dash filter=\n")
    (clone / "a").write_text("changed\n")
    for name in ("b", "-dash"):
        os.utime(clone / name)
    assert changes(server, talk) == [("A", ".gitattributes"), ("M", "a")]
    assert diff(server, talk, "-dash").json() == {"modified": "-dash", "original": "-dash"}
    assert diff(server, talk, "a").json() == {"modified": "changed", "original": "a"}


def test_objects_that_only_a_hostile_origin_has(server, clone, talk, work, tmp_path, snare):
    git(tmp_path, "clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{tmp_path}/origin", str(work / "part"))
    for key, value in (("remote.origin.url", f'ext::sh -c "{snare}"'), ("remote.origin.uploadpack", str(snare)),
                       ("remote.origin.vcs", "ext"), ("protocol.ext.allow", "always"), ("core.sshCommand", str(snare))):
        git(work / "part", "config", key, value)
    (work / "part/a").write_text("mine\n")
    assert ("A", "part/a") in changes(server, talk)
    assert diff(server, talk, "part/a").status_code in (200, 400)


def test_a_submodule_with_a_filter(server, clone, talk, tmp_path, snare):
    git(clone, "submodule", "--quiet", "add", str(tmp_path / "origin"), "mod")
    git(clone, "commit", "-qm", "mod")
    git(clone / "mod", "config", "filter.x.clean", str(snare))
    (clone / "mod/.gitattributes").write_text("* filter=x\n")
    (clone / "mod/a").write_text("inner\n")
    for key, value in (("submodule.mod.ignore", "none"), ("status.submoduleSummary", "true"), ("diff.submodule", "diff")):
        git(clone, "config", key, value)
    assert changes(server, talk) == [("A", ".gitmodules"), ("A", "mod/.gitattributes"), ("M", "mod/a")]
    assert diff(server, talk, "mod/a").json() == {"modified": "inner", "original": "a"}


def test_a_work_tree_elsewhere_is_not_looked_through(server, clone, talk, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/private").write_text("private")
    git(clone, "config", "core.worktree", str(tmp_path / "elsewhere"))
    for answer, status in ((server.legacy.get(f"{base(talk)}/git/changes"), 500), (diff(server, talk, "a"), 400)):
        assert answer.status_code == status and "work tree" in answer.json()["error"]
        assert "private" not in answer.text


def test_a_linked_work_tree(server, clone, talk, tmp_path):
    git(clone, "worktree", "add", "-q", str(tmp_path / "side"), "-b", "side")
    (tmp_path / "side/a").write_text("side\n")
    side = server.create(tmp_path / "side")
    assert changes(server, side) == [("M", "a")]
    assert diff(server, side, "a").json() == {"modified": "side", "original": "a"}


def test_repositories_that_cannot_be_asked_say_so(server, clone, talk):
    """No changes would be a lie."""
    with contextlib.suppress(PermissionError):  # only root can
        os.chown(clone / ".git", 65534, 65534)
        answer = server.legacy.get(f"{base(talk)}/git/changes")
        assert answer.status_code == 500 and "dubious ownership" in answer.json()["error"]
        os.chown(clone / ".git", 0, 0)
    (clone / ".git/config").write_text("[[[\n")
    answer = server.legacy.get(f"{base(talk)}/git/changes")
    assert answer.status_code == 500 and "bad config" in answer.json()["error"]
    assert diff(server, talk, "a").status_code == 400


def test_a_bare_repository_is_none(server, work, talk, tmp_path):
    bare = server.create(tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare")
    git(tmp_path, "init", "-q", "--bare", str(tmp_path / "bare"))
    assert changes(server, bare) == []
    assert diff(server, bare, "HEAD").json() == {"error": "Not a git repository"}
