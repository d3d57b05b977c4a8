"""Git routes, against real repositories."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from handsd import Handsd  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Handsd(tmp_path_factory.mktemp("git") / "data") as running:
        yield running


def git(repo, *args):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *args], cwd=repo, env=environment, check=True, capture_output=True)
    return done.stdout.decode("utf-8", "replace").strip()


def repository(path, branch="main", **files):
    path.mkdir(parents=True, exist_ok=True)
    git(path, "init", "-q", "-b", branch)
    if files:
        commit(path, "first", **files)
    return path


def commit(repo, message, **files):
    for name, text in files.items():
        (repo / name).write_text(text)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", message, "--allow-empty")
    return git(repo, "rev-parse", "HEAD")


def changes(server, path, **query):
    answer = server.http.get("/api/git/changes", params={"path": str(path), **query})
    assert answer.status_code == 200, answer.text
    return [(item["path"], item["status"]) for item in answer.json()]


def diff(server, path, **query):
    answer = server.http.get("/api/git/diff", params={"path": str(path), **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_changes_and_diff_of_a_working_tree(server, tmp_path):
    repo = repository(tmp_path / "repo", a="one\n", b="two\n", c="three\n", d="x\n" * 30)
    (repo / "a").write_text("one\nmore\n")
    (repo / "b").unlink()
    (repo / "new").write_text("hello")
    git(repo, "mv", "d", "moved")
    assert changes(server, repo) == [
        ("a", "UPDATED"), ("b", "DELETED"), ("d", "DELETED"), ("moved", "ADDED"), ("new", "ADDED")]
    assert diff(server, repo / "a") == {"modified": "one\nmore", "original": "one"}
    assert diff(server, repo / "new") == {"modified": "hello", "original": ""}
    assert diff(server, repo / "c") == {"modified": "three", "original": "three"}


def test_paths_in_the_path(server, tmp_path):
    repo = repository(tmp_path / "repo", a="one\n")
    (repo / "a").write_text("two\n")
    for form in (f"/api/git/changes/{repo}", f"/api/git/changes{repo}"):
        answer = server.http.get(form)
        assert answer.status_code == 200, answer.text
        assert answer.json() == [{"status": "UPDATED", "path": "a"}]
    answer = server.http.get(f"/api/git/diff/{repo}/a", params={"ref": "HEAD"})
    assert answer.json() == {"modified": "two", "original": "one"}


def test_outside_of_repositories(server, tmp_path):
    if subprocess.run(["git", "rev-parse"], cwd=tmp_path, capture_output=True, check=False).returncode == 0:
        (tmp_path / ".git").write_text("gitdir: /nonexistent\n")  # some directory above is one: this one is none
    (tmp_path / "file").write_text("x")
    assert changes(server, tmp_path) == []
    assert changes(server, tmp_path / "missing") == []
    assert diff(server, tmp_path / "file") == {"modified": None, "original": None}
    answer = server.http.get("/api/git/commits", params={"path": str(tmp_path)})
    assert answer.json() == {"commits": [], "has_more": False}


def test_what_cannot_be_shown_is_400(server, tmp_path):
    repo = repository(tmp_path / "repo", a="one\n")
    (repo / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    os.mkfifo(repo / "fifo")
    for path, word in (("missing", "File does not exist: "), ("large", "File too large for git diff: "),
                       ("fifo", "not a regular file"), (".", "")):
        answer = server.http.get("/api/git/diff", params={"path": str(repo / path)})
        assert answer.status_code == 400
        assert word in answer.json()["detail"]
    for route, path in (("changes", repo), ("diff", repo / "a")):
        for ref in ("nowhere", "--output=/tmp/x", "HEAD~9"):
            answer = server.http.get(f"/api/git/{route}", params={"path": str(path), "ref": ref})
            assert answer.status_code == 400
            assert answer.json()["detail"].startswith("Git command failed: ")
    assert server.http.get("/api/git/changes").status_code == 422
    assert server.http.get("/api/git/diff").status_code == 422
    answer = server.http.get("/api/git/diff", params={"path": str(repo / "a"), "ref": "HEAD", "commit": "abcd"})
    assert answer.status_code == 400


def test_nothing_committed_yet(server, tmp_path):
    repo = repository(tmp_path / "repo")
    (repo / "a").write_text("x\n")
    git(repo, "add", "a")
    (repo / "b").write_text("x\n")
    for query in ({}, {"ref": "HEAD"}):
        assert changes(server, repo, **query) == [("a", "ADDED"), ("b", "ADDED")]
    assert diff(server, repo / "a") == {"modified": "x", "original": ""}
    answer = server.http.get("/api/git/commits", params={"path": str(repo)})
    assert answer.json() == {"commits": [], "has_more": False}


def test_the_base_shows_what_was_done(server, tmp_path):
    origin = repository(tmp_path / "origin", a="one\n", b="one\n")
    git(tmp_path, "clone", "-q", str(origin), "clone")
    repo = tmp_path / "clone"
    assert changes(server, repo) == []
    # Committed, not pushed: against origin's branch.
    commit(repo, "second", a="two\n")
    assert changes(server, repo) == [("a", "UPDATED")]
    # A branch of its own, pushed and clean: against the fork point, whatever went on at origin.
    git(repo, "checkout", "-qb", "task")
    git(repo, "push", "-q", "origin", "task")
    commit(origin, "elsewhere", b="three\n")
    git(repo, "fetch", "-q")
    assert changes(server, repo) == [("a", "UPDATED")]
    # With an edit, only that, and a file that git does not know changes nothing in this.
    (repo / "note").write_text("x")
    assert changes(server, repo) == [("a", "UPDATED"), ("note", "ADDED")]
    (repo / "b").write_text("edited\n")
    assert changes(server, repo) == [("b", "UPDATED"), ("note", "ADDED")]
    assert changes(server, repo, ref="HEAD~1") == [("a", "UPDATED"), ("b", "UPDATED"), ("note", "ADDED")]


def test_a_branch_without_a_remote(server, tmp_path):
    repo = repository(tmp_path / "repo", a="one\n")
    git(repo, "worktree", "add", "-q", "-b", "task", str(tmp_path / "tree"))
    commit(tmp_path / "tree", "work", a="two\n")
    assert changes(server, tmp_path / "tree") == [("a", "UPDATED")]
    commit(repo, "more", b="x\n")
    assert changes(server, repo) == []  # on the default branch itself: only what is not committed


def test_in_the_middle_of_a_merge(server, tmp_path):
    repo = repository(tmp_path / "repo", a="one\n")
    git(repo, "checkout", "-qb", "side")
    commit(repo, "side", a="side\n", s="s\n")
    git(repo, "checkout", "-q", "main")
    commit(repo, "main", a="main\n")
    with pytest.raises(subprocess.CalledProcessError):
        git(repo, "merge", "side")
    assert changes(server, repo) == [("a", "UPDATED"), ("s", "ADDED")]
    assert "<<<<<<<" in diff(server, repo / "a")["modified"]


def test_nested_repositories(server, tmp_path):
    outer = repository(tmp_path / "outer", a="one\n")
    inner = repository(outer / "inner", b="one\n")
    (inner / "b").write_text("two\n")
    (outer / "inner.txt").write_text("x")
    (outer / "broken").mkdir()
    (outer / "broken" / ".git").write_text("gitdir: /nonexistent\n")
    (outer / "broken" / "file").write_text("x")
    assert changes(server, outer) == [("inner.txt", "ADDED"), ("inner/b", "UPDATED")]
    assert diff(server, inner / "b") == {"modified": "two", "original": "one"}
    loose = tmp_path / "loose"
    repository(loose / "project", a="one\n")
    (loose / "project" / "a").write_text("two\n")
    assert changes(server, loose) == [("project/a", "UPDATED")]


def test_a_directory_of_a_repository(server, tmp_path):
    repo = repository(tmp_path / "repo")
    (repo / "sub").mkdir()
    (repo / "sub" / "a").write_text("one\n")
    commit(repo, "first", top="one\n")
    (repo / "sub" / "a").write_text("two\n")
    (repo / "sub" / "b").write_text("new\n")
    (repo / "top").write_text("two\n")
    assert changes(server, repo / "sub") == [("a", "UPDATED"), ("b", "ADDED")]


def test_odd_names_and_contents(server, tmp_path):
    repo = repository(tmp_path / "repo", **{"with space": "a\n", "new\nline": "a\n", "tab\there": "a\n", "ü": "a\n"})
    for name in ("with space", "new\nline", "tab\there", "ü"):
        (repo / name).write_text("b\n")
    (Path(os.fsdecode(os.fsencode(repo) + b"/bad\xff"))).write_text("x")
    (repo / "-x").write_text("x")
    (repo / ":(glob)*").write_text("x")
    got = changes(server, repo)
    assert got == [("-x", "ADDED"), (":(glob)*", "ADDED"), ("bad\ufffd", "ADDED"), ("new\nline", "UPDATED"),
                   ("tab\there", "UPDATED"), ("with space", "UPDATED"), ("ü", "UPDATED")]
    assert diff(server, repo / "new\nline") == {"modified": "b", "original": "a"}
    (repo / "ü").write_bytes(b"\xff\xfe\r\nend\r\n\r\n")
    assert diff(server, repo / "ü")["modified"] == "\ufffd\ufffd\nend\n"


def test_ten_thousand_files(server, tmp_path):
    """All are shown, tracked and new ones; and none of them delays the next question."""
    repo = repository(tmp_path / "repo", **{f"old{n}": "x\n" for n in range(5000)})
    for n in range(5000):
        (repo / f"old{n}").write_text("y\n")
        (repo / f"new{n}").write_text("z\n")
    shown = changes(server, repo)
    assert len(shown) == 10_000
    assert set(shown) == {(f"old{n}", "UPDATED") for n in range(5000)} | {(f"new{n}", "ADDED") for n in range(5000)}
    assert diff(server, repo / "new4999")["modified"] == "z"


def test_commits_whose_author_and_subject_are_strange(server, tmp_path):
    repo = repository(tmp_path / "repo")
    git(repo, "-c", "user.name=A\x1fB\x7f", "commit", "-qm", "one\x1ftwo é", "--allow-empty")
    git(repo, "config", "i18n.logOutputEncoding", "UTF-16")
    (one,) = server.http.get("/api/git/commits", params={"path": str(repo)}).json()["commits"]
    assert (one["author"], one["subject"]) == ("A\x1fB\x7f", "one\x1ftwo é")
    assert one["timestamp"][10] == "T"


def test_commits(server, tmp_path):
    repo = repository(tmp_path / "repo", a="one\n", b="one\n")
    (repo / "b").unlink()
    second = commit(repo, "second: change\n\nbody", a="two\n", c="new\n")
    answer = server.http.get("/api/git/commits", params={"path": str(repo)}).json()
    assert answer["has_more"] is False
    newest, oldest = answer["commits"]
    assert newest["sha"] == second and second.startswith(newest["short_sha"])
    assert (newest["subject"], newest["author"]) == ("second: change", "Ada Lovelace")
    assert newest["timestamp"][10] == "T" and newest["timestamp"][-3] == ":"
    answer = server.http.get("/api/git/commits", params={"path": str(repo), "limit": 1}).json()
    assert [c["sha"] for c in answer["commits"]] == [second] and answer["has_more"] is True

    def of(sha):
        answer = server.http.get(f"/api/git/commits/{sha}/changes", params={"path": str(repo)})
        assert answer.status_code == 200, answer.text
        return [(c["path"], c["status"]) for c in answer.json()]

    assert of(newest["short_sha"]) == [("a", "UPDATED"), ("b", "DELETED"), ("c", "ADDED")]
    assert of(oldest["sha"]) == [("a", "ADDED"), ("b", "ADDED")]
    # From git alone: the file is gone.
    assert diff(server, repo / "b", commit=second) == {"modified": "", "original": "one"}
    assert diff(server, repo / "a", commit=oldest["sha"]) == {"modified": "one", "original": ""}
    for sha in ("abc", "HEAD", "--all", "z" * 40):
        assert server.http.get(f"/api/git/commits/{sha}/changes", params={"path": str(repo)}).status_code == 422
    answer = server.http.get("/api/git/commits/deadbeef/changes", params={"path": str(repo)})
    assert answer.status_code == 400
    for limit in (0, 201):
        query = {"path": str(repo), "limit": limit}
        assert server.http.get("/api/git/commits", params=query).status_code == 422


def test_a_hostile_configuration_runs_nothing(server, tmp_path):
    repo = repository(tmp_path / "repo", **{"a.txt": "one\n", "0.txt": "one\n"})
    proof = tmp_path / "proof"
    for name in ("fsmonitor", "external", "textconv", "clean", "process", "hook", "pager", "gpg", "included"):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\necho {name} >> {proof}\ncat\n")
        script.chmod(0o755)
    hooks = repo / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "post-index-change").write_text(f"#!/bin/sh\necho hook >> {proof}\n")
    (hooks / "post-index-change").chmod(0o755)
    (tmp_path / "more").write_text(f'[filter "later"]\n\tclean = {tmp_path}/included\n')
    with open(repo / ".git" / "config", "a", encoding="utf-8") as config:
        config.write(
            f"[core]\n\tfsmonitor = {tmp_path}/fsmonitor\n\thooksPath = {hooks}\n\tpager = {tmp_path}/pager\n"
            f"[diff]\n\texternal = {tmp_path}/external\n[diff \"x\"]\n\ttextconv = {tmp_path}/textconv\n"
            f"\tcommand = {tmp_path}/external\n[filter \"x\"]\n\tclean = {tmp_path}/clean\n\tprocess = {tmp_path}/process\n"
            f"[log]\n\tshowSignature = true\n[gpg]\n\tprogram = {tmp_path}/gpg\n"
            f"[include]\n\tpath = {tmp_path}/more\n")
    (repo / ".gitattributes").write_text("a.txt filter=x diff=x\n0.txt filter=later\n")
    (repo / "a.txt").write_text("two\n")
    os.utime(repo / "0.txt", (1, 1))
    index = (repo / ".git" / "index").read_bytes()
    # 0.txt was only touched.
    assert changes(server, repo) == [(".gitattributes", "ADDED"), ("a.txt", "UPDATED")]
    assert diff(server, repo / "a.txt") == {"modified": "two", "original": "one"}
    assert server.http.get("/api/git/commits", params={"path": str(repo)}).status_code == 200
    assert not proof.exists()
    assert (repo / ".git" / "index").read_bytes() == index
    # The trap does work: git by itself walks into it.
    for command in (["-c", "core.fsmonitor=false", "status"], ["status"], ["diff"]):
        subprocess.run(["git", *command], cwd=repo, capture_output=True, check=False, timeout=60)
    assert {"fsmonitor", "process", "included"} <= set(proof.read_text().split())


def test_the_conversations_own_hand_serves_its_workspace(server, tmp_path):
    repo = repository(tmp_path / "repo", a="one\n")
    conversation = server.create(repo)
    (repo / "a").write_text("two\n")
    assert changes(server, repo) == [("a", "UPDATED")]
    assert diff(server, repo / "a") == {"modified": "two", "original": "one"}
    assert server.http.delete(f"/api/conversations/{conversation}").status_code == 200
    assert changes(server, repo) == [("a", "UPDATED")]


@pytest.fixture
def held(tmp_path):
    """A repository that holds git for ever; hold() returns when it does: git opens one FIFO, then another one."""
    repo = repository(tmp_path / "held", a="one\n")
    os.mkfifo(tmp_path / "fifo")
    (repo / ".git" / "info" / "exclude").unlink(missing_ok=True)
    (repo / ".git" / "info").mkdir(exist_ok=True)
    os.mkfifo(repo / ".git" / "info" / "exclude")
    git(repo, "config", "core.excludesFile", str(tmp_path / "fifo"))

    def hold():
        os.close(os.open(tmp_path / "fifo", os.O_WRONLY))

    return repo, hold


class Asked(threading.Thread):
    """A GET that is on its way."""

    def __init__(self, server, path):
        super().__init__(daemon=True)
        self.url, self.path, self.answer, self.problem = f"{server.url}/api/git/changes", path, None, None
        self.start()

    def run(self):
        try:
            self.answer = httpx.get(self.url, params={"path": str(self.path)}, timeout=60)
        except httpx.HTTPError as problem:
            self.problem = problem


def test_a_hand_that_dies_is_502_and_the_next_question_is_answered(server, tmp_path, held):
    repo, hold = held
    conversation = server.create(repo)
    asked = Asked(server, repo)
    hold()
    for pid in hands_of(server.process.pid):
        os.kill(pid, signal.SIGKILL)
    asked.join(30)
    assert asked.answer.status_code == 502
    git(repo, "config", "--unset", "core.excludesFile")
    (repo / ".git" / "info" / "exclude").unlink()
    assert changes(server, repo) == []
    assert server.http.delete(f"/api/conversations/{conversation}").status_code == 200


def test_the_server_ends_although_git_hangs(tmp_path, held):
    repo, hold = held
    with Handsd(tmp_path / "data") as own:
        asked = Asked(own, repo)
        hold()
        assert own.http.get("/alive").status_code == 200
        assert own.stop() == 0  # which waits less than git may take (30 s)
        asked.join(30)
        assert asked.problem or asked.answer.status_code >= 500


def hands_of(pid):
    """Children of the server that are hands."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = status.read_text().split(" (", 1)[1].rsplit(") ", 1)
        except OSError:
            continue
        if name == "hand" and int(rest.split()[1]) == pid:
            found.append(int(status.parent.name))
    return found
