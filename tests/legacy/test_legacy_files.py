"""The 0.53 API: files of a conversation's workspace."""

import os
import re
import shutil
import uuid

import pytest


def base(conversation):
    return f"/api/conversations/{uuid.UUID(conversation).hex}"


@pytest.fixture
def talk(server, work):
    return server.create(work)


def names(server, talk, **query):
    answer = server.legacy.get(f"{base(talk)}/list-files", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def select(server, talk, file):
    return server.legacy.get(f"{base(talk)}/select-file", params={"file": file})


def test_one_level_directories_first(server, work, talk):
    for name in ("b.txt", "A.txt", ".hidden", "sub/c.txt", "Zoo/x", ".git/config", "node_modules/x", ".DS_Store"):
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text("x")
    assert names(server, talk) == ["sub/", "Zoo/", ".hidden", "A.txt", "b.txt"]
    assert names(server, talk, path="") == names(server, talk)
    assert names(server, talk, path="sub") == ["sub/c.txt"]
    assert names(server, talk, path="sub/") == ["sub/c.txt"]
    assert names(server, talk, path=str(work / "sub")) == [str(work / "sub/c.txt")]
    # The list of what is left out is for the top only.
    (work / "sub/node_modules").mkdir()
    assert names(server, talk, path="sub") == ["sub/node_modules/", "sub/c.txt"]


def test_what_is_no_directory_has_no_files(server, work, talk):
    (work / "file").write_text("x")
    assert names(server, talk, path="missing") == []
    assert names(server, talk, path="file") == []
    assert names(server, talk) == ["file"]


def test_gitignore_of_the_top_counts(server, work, talk):
    (work / ".gitignore").write_text("*.log\nbuild/\n/only\n!keep.log\ndeep/secret\n")
    for name in ("a.log", "keep.log", "build/out", "only", "sub/only", "sub/b.log", "deep/secret", "deep/open"):
        (work / name).parent.mkdir(exist_ok=True)
        (work / name).write_text("x")
    (work / "sub/.gitignore").write_text("only\n")
    assert names(server, talk) == ["deep/", "sub/", ".gitignore", "keep.log"]
    assert names(server, talk, path="sub") == ["sub/.gitignore", "sub/only"]
    assert names(server, talk, path="deep") == ["deep/open"]
    assert names(server, talk, path="build") == []
    assert names(server, talk, path=str(work / "deep")) == [str(work / "deep/open")]


def test_links_are_what_they_lead_to(server, work, talk, tmp_path):
    outside = tmp_path / "outside"
    (outside / "dir").mkdir(parents=True)
    (outside / "secret").write_text("secret")
    (work / "sub").mkdir()
    (work / "sub/file").write_text("x")
    (work / "to-dir").symlink_to("sub")
    (work / "to-file").symlink_to("sub/file")
    (work / "to-nothing").symlink_to("missing")
    (work / "out").symlink_to(outside)
    (work / "absolute").symlink_to(work / "sub")
    assert names(server, talk) == ["absolute/", "sub/", "to-dir/", "out", "to-file"]
    assert names(server, talk, path="to-dir") == ["to-dir/file"]
    assert select(server, talk, "to-file").json() == {"code": "x"}
    for path in ("out", "..", "../outside", str(outside), "sub/../../outside", "/"):
        answer = server.legacy.get(f"{base(talk)}/list-files", params={"path": path})
        assert answer.status_code == 403, (path, answer.text)
        assert re.search(r"out of the workspace|is outside", answer.json()["error"]), (path, answer.text)
    for path in ("out/secret", "../outside/secret", str(outside / "secret"), "/etc/passwd", "to-dir/../../outside/secret"):
        answer = select(server, talk, path)
        assert answer.status_code == 403 and set(answer.json()) == {"error"}, (path, answer.text)


def test_strange_names(server, work, talk):
    odd = ["new\nline", "quo\"te", "caf\u00e9", "back\\slash", "-dash", " space "]
    for name in odd:
        (work / name).write_text(name)
    with open(os.path.join(os.fsencode(work), b"bad\xff"), "w") as out:
        out.write("x")
    listed = names(server, talk)
    assert sorted(listed) == sorted([*odd, "bad\ufffd"])
    for name in odd:
        assert select(server, talk, name).json() == {"code": name}


def test_ten_thousand_files(server, work, talk):
    for i in range(10000):
        (work / f"{i:05}").touch()
    assert names(server, talk) == [f"{i:05}" for i in range(10000)]


def test_a_file_is_text(server, work, talk):
    (work / "a.txt").write_bytes("h\u00e9llo\r\nworld\n".encode())
    (work / "empty").touch()
    assert select(server, talk, "a.txt").json() == {"code": "h\u00e9llo\r\nworld\n"}
    assert select(server, talk, str(work / "a.txt")).json() == {"code": "h\u00e9llo\r\nworld\n"}
    assert select(server, talk, "empty").json() == {"code": ""}


def test_what_is_no_text(server, work, talk):
    (work / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    (work / "latin").write_bytes(b"caf\xe9")
    (work / "dir").mkdir()
    os.mkfifo(work / "fifo")
    (work / "huge").write_bytes(b"")
    os.truncate(work / "huge", 9 * 1024 * 1024)
    binary = select(server, talk, "x.png")
    assert binary.status_code == 415
    assert binary.json() == {"error": f"Unable to open binary file: {work}/x.png"}
    assert select(server, talk, "latin").status_code == 415
    for file, status in (("missing", 404), ("missing/x", 404), ("x.png/x", 404), ("dir", 400), ("", 400),
                         ("fifo", 403), ("huge", 413), ("nul\0", 400), ("x" * 5000, 400)):
        answer = select(server, talk, file)
        assert answer.status_code == status, (file, answer.text)
        assert answer.json()["error"].startswith("Error opening file: ")
    missing = server.legacy.get(f"{base(talk)}/select-file")
    assert missing.status_code == 422
    assert missing.json()["detail"] == [
        {"type": "missing", "loc": ["query", "file"], "msg": "Field required", "input": None}]


def test_unreadable_file(server, work, talk):
    (work / "shut").write_text("x")
    os.chmod(work / "shut", 0)
    if os.access(work / "shut", os.R_OK):
        pytest.skip("root reads everything")
    assert select(server, talk, "shut").status_code == 403


@pytest.mark.parametrize("route", ["list-files", "select-file?file=x", "git/changes", "git/diff?path=x"])
def test_unknown_conversations(server, route):
    for unknown in (uuid.uuid4().hex, "nonsense"):
        answer = server.legacy.get(f"/api/conversations/{unknown}/{route}")
        assert answer.status_code == 404
        assert answer.json() == {"detail": f"Conversation {unknown} not found"}


def test_a_workspace_that_is_gone(server, work, talk):
    shutil.rmtree(work)
    assert names(server, talk) == []
    assert select(server, talk, "a").status_code == 404
