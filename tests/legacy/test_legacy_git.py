"""The 0.53 API: git in a conversation's workspace, against real repositories."""

import os
import shutil
import subprocess
import uuid

import pytest


def git(repo, *args, check=True):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *args], cwd=repo, env=environment, check=check, capture_output=True)


def repository(path, files=()):
    path.mkdir(parents=True, exist_ok=True)
    git(path, "init", "-q", "-b", "main")
    if files:
        commit(path, files)
    return path


def commit(repo, files):
    for name, text in dict(files).items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "more")


@pytest.fixture
def talk(server, work):
    return server.create(work)


@pytest.fixture
def clone(tmp_path, work):
    """`work` is a clone of a repository with a few files."""
    origin = repository(tmp_path / "origin", {"a": "one\n", "b": "two\n", "c": "three\n", "sub/d": "four\n"})
    git(tmp_path, "clone", "-q", str(origin), str(work))
    return work


def changes(server, talk):
    answer = server.legacy.get(f"/api/conversations/{uuid.UUID(talk).hex}/git/changes")
    assert answer.status_code == 200, answer.text
    assert all(set(item) == {"status", "path"} for item in answer.json())
    return [(item["status"], item["path"]) for item in answer.json()]


def diff(server, talk, path):
    return server.legacy.get(f"/api/conversations/{uuid.UUID(talk).hex}/git/diff", params={"path": str(path)})


def test_no_repository(server, work, talk):
    shutil.rmtree(work / ".git")
    (work / "a").write_text("x")
    assert changes(server, talk) == []
    answer = diff(server, talk, "a")
    assert answer.status_code == 404 and answer.json() == {"error": "Not a git repository"}


def test_without_an_origin_everything_is_new(server, work, talk):
    repository(work, {"a": "one\n", "sub/b": "two\n"})
    assert changes(server, talk) == [("A", "a"), ("A", "sub/b")]
    assert diff(server, talk, "a").json() == {"modified": "one", "original": ""}


def test_an_empty_repository(server, work, talk):
    repository(work)
    assert changes(server, talk) == []
    (work / "new").write_text("x\ny\n")
    assert changes(server, talk) == [("A", "new")]
    assert diff(server, talk, "new").json() == {"modified": "x\ny", "original": ""}


def test_changes_of_a_clone(server, clone, talk):
    assert changes(server, talk) == []
    (clone / "a").write_text("one\nmore\n")
    (clone / "b").unlink()
    (clone / "new").write_text("hello")
    git(clone, "mv", "c", "moved")
    assert changes(server, talk) == [("M", "a"), ("D", "b"), ("D", "c"), ("A", "moved"), ("A", "new")]
    assert diff(server, talk, "a").json() == {"modified": "one\nmore", "original": "one"}
    assert diff(server, talk, clone / "a").json() == {"modified": "one\nmore", "original": "one"}
    assert diff(server, talk, "b").json() == {"modified": "", "original": "two"}
    assert diff(server, talk, "new").json() == {"modified": "hello", "original": ""}
    # What was committed and not pushed still counts; what was pushed does not.
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "all")
    assert len(changes(server, talk)) == 5
    git(clone, "push", "-q", "origin", "HEAD:refs/heads/other")
    git(clone, "checkout", "-qb", "other")
    git(clone, "fetch", "-q")
    assert changes(server, talk) == []


def test_a_branch_of_ones_own_is_compared_with_where_it_began(server, clone, talk, tmp_path):
    git(clone, "checkout", "-qb", "task")
    commit(clone, {"mine": "x"})
    commit(tmp_path / "origin", {"theirs": "x"})
    git(clone, "fetch", "-q")
    assert changes(server, talk) == [("A", "mine")]


def test_a_link_in_place_of_a_file(server, clone, talk):
    (clone / "a").unlink()
    (clone / "a").symlink_to("b")
    assert changes(server, talk) == [("M", "a")]


def test_repositories_inside(server, clone, talk, tmp_path):
    git(tmp_path, "clone", "-q", str(tmp_path / "origin"), str(clone / "repo"))
    (clone / "repo/a").write_text("inner\n")
    (clone / "repo.txt").write_text("outer\n")
    assert changes(server, talk) == [("A", "repo.txt"), ("M", "repo/a")]
    assert diff(server, talk, "repo/a").json() == {"modified": "inner", "original": "one"}


def test_repositories_in_a_plain_folder(server, work, talk, tmp_path):
    origin = repository(tmp_path / "origin", {"a": "one\n"})
    for name in ("first", "second"):
        git(tmp_path, "clone", "-q", str(origin), str(work / name))
        (work / name / "a").write_text(name)
    assert changes(server, talk) == [("M", "first/a"), ("M", "second/a")]


def test_the_middle_of_a_merge(server, clone, talk):
    git(clone, "checkout", "-qb", "left")
    commit(clone, {"a": "left\n", "both": "left\n"})
    git(clone, "checkout", "-q", "main")
    commit(clone, {"a": "right\n", "both": "right\n", "clean": "x"})
    assert git(clone, "merge", "left", check=False).returncode
    assert changes(server, talk) == [("U", "a"), ("U", "both"), ("A", "clean")]
    assert "<<<<<<<" in diff(server, talk, "a").json()["modified"]


def test_strange_names(server, clone, talk):
    odd = ["with space", "caf\u00e9", "quo\"te", "new\nline", "$(touch pwned)", "`x`", "a;b", "tab\there", ":(glob)*"]
    for name in odd:
        (clone / name).write_text("x\n")
    assert sorted(changes(server, talk)) == sorted(("A", name) for name in odd)
    git(clone, "add", "-A")
    assert sorted(changes(server, talk)) == sorted(("A", name) for name in odd)
    for name in odd:
        assert diff(server, talk, name).json() == {"modified": "x", "original": ""}
    assert not (clone / "pwned").exists()


def test_a_hostile_configuration_runs_nothing(server, clone, talk, tmp_path):
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external", "diff.x.textconv", "diff.x.command", "filter.x.clean",
                "filter.x.smudge", "filter.x.process", "core.pager", "core.sshCommand", "credential.helper"):
        git(clone, "config", key, str(trap))
    (clone / ".gitattributes").write_text("* filter=x diff=x\n")
    hooks = clone / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-checkout", "pre-commit", "post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (hooks / hook).write_text(trap.read_text())
        (hooks / hook).chmod(0o755)
    (clone / "a").write_text("changed\n")
    os.utime(clone / "b")
    assert changes(server, talk) == [("A", ".gitattributes"), ("M", "a")]
    assert diff(server, talk, "a").json() == {"modified": "changed", "original": "one"}
    assert not (tmp_path / "sprung").exists()


def test_diffs_that_cannot_be_shown(server, clone, talk, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (clone / "out").symlink_to(tmp_path)
    (clone / "binary").write_bytes(b"\x00\x01\xff")
    (clone / "huge").write_bytes(b"x" * (1024 * 1024 + 1))
    (clone / "dir").mkdir()
    os.mkfifo(clone / "fifo")
    for path, status in (("missing", 404), ("dir/missing", 404), ("binary", 415), ("huge", 413), ("dir", 400), ("sub", 400),
                         ("fifo", 403), ("out/secret", 403), ("../secret", 403), (tmp_path / "secret", 403),
                         ("/etc/passwd", 403), ("out/missing", 403), ("nul\0", 400), ("x" * 5000, 400)):
        answer = diff(server, talk, path)
        assert answer.status_code == status, (path, answer.text)
        assert set(answer.json()) == {"error"}
    missing = server.legacy.get(f"/api/conversations/{uuid.UUID(talk).hex}/git/diff")
    assert missing.status_code == 422 and missing.json()["detail"][0]["loc"] == ["query", "path"]


def test_ten_thousand_changes(server, clone, talk):
    for i in range(10000):
        (clone / f"new-{i:05}").touch()
    assert changes(server, talk) == [("A", f"new-{i:05}") for i in range(10000)]


def test_a_file_that_was_only_touched(server, clone, talk):
    index = (clone / ".git/index").read_bytes()
    os.utime(clone / "a", (1, 1))
    assert changes(server, talk) == []
    assert (clone / ".git/index").read_bytes() == index
