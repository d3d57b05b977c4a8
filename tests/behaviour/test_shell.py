"""What programs in a shell can do to a conversation: each of them ends well, and nobody else notices."""

import os
import re
import signal
import time
from datetime import datetime

import pytest

from handsd import processes_in
from talk import FINISH, Others, Talk, key, memory_kb, run

GROWTH_KB = 12 * 1024  # what a server that has seen all of this may have grown by


@pytest.fixture(scope="module", autouse=True)
def flat(server, tmp_path_factory):
    """After all of these the server is as small as after the first."""
    with Talk(server, tmp_path_factory.mktemp("first"), [run("true"), FINISH]) as talk:
        assert talk.say() == "finished"
    before = memory_kb(server)
    yield
    assert memory_kb(server) - before < 2 * GROWTH_KB  # a good hundred conversations are still open


@pytest.fixture(scope="module", autouse=True)
def patient(server, flat, tmp_path_factory):
    """A command that says nothing for 30 seconds, begun beforehand: the others need not wait for it."""
    work = tmp_path_factory.mktemp("patient")
    with Talk(server, work, [run("echo a; sleep 300"), key("C-c"), FINISH]) as talk:
        talk.start()
        yield talk


def play(server, work, *lines, **more):
    """Runs the lines and then `finish`; what the agent saw of each."""
    with Talk(server, work, [*lines, FINISH], **more) as talk:
        assert talk.say() == "finished"
        seen = talk.seen()
        assert len(seen) == len(lines) + 1
        return seen[:-1]


def one(server, work, command, **more):
    """One command, and that the shell behind it still answers."""
    first, second = play(server, work, run(command, **more), run("echo still-$((40 + 2))"))
    assert second.text == "still-42" and second.exit_code == 0, second
    return first


# ---- ordinary commands


@pytest.mark.parametrize("command, text, code", [
    ("echo one\necho two\nfalse", "one\ntwo", 1),
    ("cd /; pwd\nexport A=b\necho $A", "/\nb", 0),
    ("cat <<'END'\na $HOME `x`\n  b\nEND", "a $HOME `x`\n  b", 0),
    ("cat <<-END\n\tin\n\tEND\necho behind", "in\nbehind", 0),
    ("for i in 1 2 3\ndo\n  echo $i\ndone", "1\n2\n3", 0),
    ("f() {\n  return 7\n}\nf", "", 7),
    ("echo 'it'\\''s' \"q\\\"q\" \\\\", "it's q\"q \\", 0),
    ("echo a \\\n  b", "a b", 0),
    ("# only words", "", 0),
    ("echo x; # words\n# more", "x", 0),
    ("echo é ü 漢字 😀", "é ü 漢字 😀", 0),
    ("sh -c 'kill -9 $$'", "Killed", 137),
    ("nosuchprogram-xyz", "nosuchprogram-xyz: command not found", 127),
    ("printf 'no newline'", "no newline", 0),
    ("echo out; echo err >&2", "out\nerr", 0),
    ("find . -maxdepth 0 -exec echo {} \\;", ".", 0),
    ("echo '!!' !x", "!! !x", 0),
    ("seq 3 | while read x; do echo =$x; done", "=1\n=2\n=3", 0),
    ("read x; echo got-$x < /dev/null", None, None),
])
def test_commands(server, work, command, text, code):
    if text is None:  # waits for input: it is left running and a key ends it
        first, second, third = play(server, work, run(command, timeout=0.3), key("C-c"), run("echo fine"))
        assert first.exit_code == -1 and third.text == "fine"
        return
    seen = one(server, work, command)
    assert seen.exit_code == code, seen
    assert text in seen.text if code in (127, 137) else seen.text == text
    assert not seen.is_error and f"exit code {code}" in seen.suffix


@pytest.mark.parametrize("command", [
    "echo 'open", 'echo "open', "echo $(open", "echo `open", "if true; then echo x", "cat <<END\nno end", "( echo x",
    "{ echo x", "case x in", "echo x |", "echo x &&", "done", ")", "for", "f() {", "echo ${x", "echo \\",
])
def test_unbalanced_commands(server, work, command):
    seen = one(server, work, command, timeout=10)
    assert seen.exit_code != -1, seen


def test_the_directory_is_kept(server, work):
    (work / "a b").mkdir()
    first, second, third = play(server, work, run("cd 'a b'"), run("pwd"), run("cd ..; pwd"))
    assert first.cwd == second.text == second.cwd == str(work / "a b")
    assert third.cwd == str(work)


def test_variables_functions_and_jobs_are_kept(server, work):
    seen = play(server, work, run("x=5; f() { echo f$x; }; alias l='echo aliased'; sleep 60 & echo on"), run("f"), run("l"),
                run("jobs | grep -c sleep; kill %1"))
    assert [s.text.splitlines()[-1] for s in seen[1:]] == ["f5", "aliased", "1"]


# ---- shells that are spoiled or leave


@pytest.mark.parametrize("command", [
    "set -e", "set -e; false", "set -u; set -o pipefail", "set -x", "set -v", "set -n", "set -f", "set -o posix", "set -m",
    "PS1='$ '; PROMPT_COMMAND='echo hello'; PS2='>>'", "unset PROMPT_COMMAND PS1 PS2", "PROMPT_COMMAND=", "readonly PS1",
    "trap 'echo bye' EXIT; trap 'echo dbg' DEBUG", "trap 'echo dbg' DEBUG; trap '' INT TERM HUP",
    "printf() { :; }; export -f printf", "alias printf=false", "stty raw -echo", "stty -echo", "IFS=x",
    "PATH=; export PATH", "cd /; unset HOME PWD", "exec 2>/dev/null", "shopt -s extdebug", "tput smcup",
    "printf '\\033[?1049h\\033[31mred'", "printf '\\033]0;title'", "printf '\\033'", "printf '\\016\\033(0'",
    "ulimit -n 20", "mkdir d; cd d; rmdir ../d", "TMOUT=1", "source /dev/stdin <<< 'return 3'",
    "return 4", "break", "history -c; set -o history; set -H",
])
def test_spoiled_shells(server, work, command):
    with Others(server):
        first, second = play(server, work, run(command, timeout=20), run("echo still-$((40 + 2))", timeout=20))
    assert first.exit_code != -1 and not first.error, first
    assert "still-42" in second.text, second
    assert second.exit_code in (0, 127), second


@pytest.mark.parametrize("command, code", [
    ("exit 3", 3), ("exit", 0), ("exec true", 0), ("exec sh -c 'exit 5'", 5), ("kill -9 $$", None), ("kill -HUP $$", None),
    ("set -e; exit 9", 9), ("exec nosuchprogram", None), ("exec > /dev/null 2>&1 < /dev/null; exit 6", 6),
    ("kill -9 0", None), ("logout", None), ("exec 255>&-; exit 2", None),
])
def test_shells_that_leave(server, work, command, code):
    first, second = play(server, work, run(command, timeout=10), run("echo back; pwd", timeout=10))
    assert second.text == f"back\n{work}", (first, second)
    if code is not None:
        assert first.exit_code == code and f"exit code {code}" in first.suffix, first
        assert "gone" in first.suffix or "gone" in second.prefix


@pytest.mark.parametrize("command", [
    "kill -STOP $$", "readonly PROMPT_COMMAND=x", "command() { :; }; unset() { :; }", "while :; do :; done", "exec 0</dev/null", "enable -n printf",
])
def test_shells_that_are_lost_can_be_reset(server, work, command):
    first, second, third = play(server, work, run(command, timeout=1), run("", reset=True), run("echo back"))
    assert not first.error and not second.is_error and third.text == "back", (first, second, third)


def test_the_end_of_the_shell_ends_what_it_left(server, work):
    play(server, work, run("setsid sleep 300 & (sleep 301 &) ; exit 1"), run("sleep 0.1"))
    for _ in range(100):  # its end is asked for, and the kernel takes its time
        if not [p for p in processes_in(work) if "sleep 30" in open(f"/proc/{p}/cmdline").read().replace("\0", " ")]:
            return
        time.sleep(0.02)
    raise AssertionError("a process of the ended shell is still there")


def test_reset(server, work):
    first, second, third, fourth = play(server, work, run("x=5; sleep 100", timeout=0.2), run("", reset=True),
                                        run("echo [$x]"), run("echo [$x] again", reset=True))
    assert first.exit_code == -1
    assert second.observation["command"] == "[RESET]" and second.exit_code == 0 and "reset" in second.text
    assert third.text == "[]"
    assert fourth.observation["command"] == "[RESET] echo [$x] again" and fourth.text.endswith("\n\n[] again")


def test_reset_and_input_do_not_go_together(server, work):
    seen, = play(server, work, run("x", reset=True, is_input=True))
    assert "reset" in seen.error and "is_input" in seen.error


# ---- programs that want something


@pytest.mark.parametrize("command", [
    "git log", "git -c core.pager=less log", "less file", "more file", "man ls", "git diff --no-index file /dev/null", "systemctl",
])
def test_pagers(server, work, command):
    (work / "file").write_text("".join(f"line {n}\n" for n in range(500)))
    seen = play(server, work, run(command, timeout=1.5), key("q"), key("C-c"), run("echo still", timeout=5))
    assert seen[-1].text.endswith("still"), seen


@pytest.mark.parametrize("command", ["vi file", "vim file", "nano file", "ed file", "git commit --allow-empty", "crontab -e"])
def test_editors(server, work, command):
    (work / "file").write_text("text\n")
    seen = play(server, work, run(f"git init -q .; git config user.email a@b.c; git config user.name n; {command}", timeout=1.5),
                run("", reset=True), run("echo still", timeout=5))
    assert seen[-1].text == "still"


def test_a_password_prompt(server, work):
    first, second, third = play(server, work, run("read -sp 'Password: ' p && echo; echo \"got ${#p}\"", timeout=0.5), key("sesame"),
                                run("echo still"))
    assert "Password:" in first.text and first.exit_code == -1 and "timed out after 0.5 seconds" in first.suffix
    assert second.text.strip() == "got 6" and "sesame" not in second.text and third.text == "still"


def test_a_prompt_of_the_terminal_itself(server, work):
    """A program that opens /dev/tty as ssh and sudo do."""
    (work / "ask.py").write_text("import getpass\nprint(len(getpass.getpass('Secret? ')))\n")
    first, second = play(server, work, run("python3 ask.py < /dev/null", timeout=2), key("1234567"))
    assert "Secret?" in first.text and second.text.strip() == "7"


def test_a_python_prompt(server, work):
    seen = play(server, work, run("python3 -q", timeout=1.5), run("print(6 * 7)", is_input=True, timeout=1),
                run("def f():\n    return 5", is_input=True, timeout=1), run("ENTER", is_input=True, timeout=1), run("f() + 1", is_input=True, timeout=1),
                run("exit()", is_input=True), run("echo over"))
    assert ">>>" in seen[0].text and "42" in seen[1].text and "6" in seen[4].text, seen
    assert seen[5].exit_code == 0 and seen[6].text == "over"


# ---- time


def test_input_and_fetching_without_a_program(server, work):
    for seen in play(server, work, run(""), key("C-c"), key("text")):
        assert seen.is_error and seen.text and seen.exit_code == -1
    with_reset, = play(server, work, run("", reset=True))
    assert not with_reset.is_error


def test_a_command_that_goes_on(server, work):
    command = "echo first; until [ -e go ]; do sleep 0.05; done; echo second; read -r x; echo third-$x; sleep 50"
    seen = play(server, work, run(command, timeout=0.4), run("ls"), run("touch go", is_input=False), run("", timeout=0.2),
                key("C-c"), run("echo next"))
    assert seen[0].text == "first" and seen[0].exit_code == -1 and "timed out after 0.4 seconds" in seen[0].suffix
    assert "`ls` was not run" in seen[1].suffix and seen[1].is_error and seen[1].exit_code == -1
    assert seen[2].is_error  # nothing else can be run
    assert seen[3].text == "" and seen[3].exit_code == -1
    assert seen[4].exit_code == 130 and "CTRL+C was sent" in seen[4].suffix
    assert seen[5].text == "next" and seen[5].exit_code == 0


def test_fetching_and_answering(server, work):
    seen = play(server, work, run("read -r x; echo \"<$x>\"; read -r y; echo \"<$y>\"; seq 3", timeout=0.3),
                run("one 'two'", is_input=True, timeout=0.3), key("ENTER"), run("echo next"))
    assert "<one 'two'>" in seen[1].text
    assert seen[2].text.strip() == "<>\n1\n2\n3" and seen[2].exit_code == 0


def test_stop_and_end_keys(server, work):
    seen = play(server, work, run("cat", timeout=0.3), key("C-d"), run("sleep 50", timeout=0.3), key("C-z"), run("jobs"),
                run("kill %1; wait %1 2>/dev/null; echo gone"))
    assert seen[1].exit_code == 0 and seen[3].exit_code in (146, 148) and "Stopped" in seen[4].text and "gone" in seen[5].text


def test_a_program_that_ignores_ctrl_c(server, work):
    seen = play(server, work, run("trap '' INT; sleep 60", timeout=0.3), run("C-c", is_input=True, timeout=0.3),
                run("", reset=True), run("echo free"))
    assert seen[1].exit_code == -1 and seen[3].text == "free"


@pytest.mark.parametrize("timeout", [0, 0.001, 1e9])
def test_odd_timeouts(server, work, timeout):
    seen = play(server, work, run("echo x", timeout=timeout), run("", reset=True), run("echo y"))
    assert seen[2].text == "y" and not seen[0].error


def test_background_programs_do_not_hold_the_command(server, work):
    started = time.monotonic()
    seen = play(server, work, run("sleep 100 & echo one"), run("setsid sleep 100 > /dev/null 2>&1 < /dev/null & echo two"),
                run("(setsid sh -c 'sleep 100 & sleep 100' &) ; echo three"), run("nohup sleep 100 >/dev/null 2>&1 & disown; echo four"),
                run("(while :; do echo noise; sleep 0.01; done) & echo five"), run("kill $!; wait $! 2>/dev/null; echo six"))
    for s, word in zip(seen, ("one", "two", "three", "four", "five", "six")):
        assert word in s.text and s.exit_code == 0, s
    assert time.monotonic() - started < 10


def test_deleting_ends_daemons(server, work):
    with Talk(server, work, [run("setsid sleep 500 & (setsid nohup sleep 501 >/dev/null 2>&1 &); echo on"), FINISH]) as talk:
        assert talk.say() == "finished"
        assert len([p for p in processes_in(work)]) >= 3
        assert server.http.delete(f"/api/conversations/{talk.id}").json() == {"success": True}
    deadline = time.monotonic() + 5
    while processes_in(work):
        assert time.monotonic() < deadline, "a daemon has outlived its conversation"
        time.sleep(0.02)


# ---- output


@pytest.mark.parametrize("command, expected", [
    ("printf 'a\\0b\\0\\0c\\n'", r"a.?b.{0,2}c"),
    ("printf 'x\\377\\376y\\303(z\\n'", r"x.+y.+z"),
    ("head -c 200000 /dev/urandom", r""),
    ("printf 'bell\\a back\\b\\b up\\033[A clear\\033[2J\\033[H end\\n'", r"end"),
    ("for i in 1 2 3; do printf '\\r%d%%' $i; done; echo", r"3%"),
    ("printf '\\033[31mred\\033[0m \\033]8;;http://x\\033\\\\link\\033]8;;\\033\\\\ end'", r"^red link end$"),
    ("printf '\\033[6n'; printf '\\033[c'; echo x", r"x"),
    ("printf '\\355\\240\\200 \\364\\220\\200\\200\\n'", r""),
    ("printf '###PS1JSON###\\n{}\\n###PS1END###\\n'", r"PS1END"),
    ("printf '%0100000d\\n' 7", r"7$"),
    ("printf 'a\\r\\nb\\r\\n'", r"^a\nb$"),
])
def test_odd_output(server, work, command, expected):
    seen = one(server, work, command)
    assert seen.exit_code == 0, seen
    assert re.search(expected, seen.text, re.S), seen
    seen.text.encode("utf-8")
    assert "\x1b" not in seen.text and "\0" not in seen.text


@pytest.mark.parametrize("command", ["seq 13000000", "head -c 100000000 /dev/zero | tr '\\0' x", "head -c 100000000 /dev/zero"])
def test_a_hundred_megabytes(server, work, command):
    before = memory_kb(server)
    with Others(server):
        seen = one(server, work, f"{command}; echo the-end", timeout=60)
    assert seen.exit_code == 0 and seen.text.endswith("the-end"), seen
    assert len(seen.text) <= 30000
    if "zero |" in command or "seq" in command:
        assert "clipped" in seen.text
    assert memory_kb(server) - before < GROWTH_KB


def test_yes_until_its_time_is_over(server, work):
    before = memory_kb(server)
    with Others(server):
        first, second, third = play(server, work, run("yes", timeout=2), key("C-c"), run("echo fine"))
    assert first.exit_code == -1 and "timed out after 2.0 seconds" in first.suffix and first.text.startswith("y\ny\n")
    assert second.exit_code == 130, second
    assert third.text == "fine"
    assert memory_kb(server) - before < GROWTH_KB


def test_what_was_clipped_is_in_a_file(server, work):
    first, second = play(server, work, run("seq 20000"), run("ls"))
    found = re.search(r"all of it is in (\S+), where the clipped part starts at line (\d+)", first.text)
    assert found, first.text[:200]
    assert len(first.text) <= 30000
    path, line = found.group(1), int(found.group(2))
    assert os.path.dirname(path) == first.observation["full_output_save_dir"]
    assert open(path).read().split() == [str(n) for n in range(1, 20001)]
    shown = first.text[:found.start()].split("\n[…")[0].split("\n")
    assert line in (len(shown), len(shown) + 1)


# ---- secrets


SECRET = "s3cr3t-value-0123456789"


def test_secrets_go_to_the_commands_that_name_them(server, work):
    lines = [run("echo ${TOKEN:-none} | rev"), run("echo x$OTHER | rev"), run("printf '%s' \"$TOKEN\" | wc -c; echo $TOKEN"),
             run("echo $token | rev"), run("env | grep -c ^TOKEN="), run("sh -c 'echo $TOKEN; echo $TOKEN >&2' > file 2>&1; cat file")]
    seen = play(server, work, *lines, secrets={"TOKEN": SECRET, "OTHER": "o'th\"er $x `y`\\z"})
    assert seen[0].text == SECRET[::-1]
    assert seen[1].text == "x" + "o'th\"er $x `y`\\z"[::-1] or seen[1].text == ("x" + "o'th\"er $x `y`\\z")[::-1]
    assert seen[2].text == f"{len(SECRET)}\n<secret-hidden>"
    assert seen[4].text == "1"
    assert seen[5].text == "<secret-hidden>\n<secret-hidden>"
    assert (work / "file").read_text() == f"{SECRET}\n" * 2


def test_secrets_are_masked_wherever_they_lie(server, work):
    """In halves, across the edges of what is kept, in the middle of much output, in directories and in errors."""
    lines = [
        run("for c in $(echo $TOKEN | sed 's/./& /g'); do printf %s $c; done; echo"),
        run("for i in $(seq 60000); do echo $TOKEN; done"),
        run("head -c 262135 /dev/zero | tr '\\0' x; echo $TOKEN; head -c 3000000 /dev/zero | tr '\\0' y; echo; echo $TOKEN"),
        run("mkdir $TOKEN; cd $TOKEN; pwd"),
        run("cd ..; ./$TOKEN/no"),
        run("echo \"<$TOKEN>\"; echo $TOKEN$TOKEN"),
        run("printf '%s' ${TOKEN%?????}; sleep 1; printf '%s\\n' ${TOKEN: -5}", timeout=0.5),
        run("", timeout=10),
        run("rev > out; rev out; echo $TOKEN", timeout=0.3), run(SECRET[::-1], is_input=True, timeout=0.5), key("C-d"),
    ]
    with Talk(server, work, [*lines, FINISH], secrets={"TOKEN": SECRET}) as talk:
        assert talk.say() == "finished"
        everything = repr(talk.events()) + repr(talk.info()) + repr(talk.frames)
        seen = talk.seen()
    assert SECRET not in everything
    assert "s3cr3t" not in seen[6].text and "56789" not in seen[7].text and seen[7].exit_code == 0
    assert seen[10].text.endswith("<secret-hidden>")
    for s in (seen[0], seen[3], seen[4], seen[5]):
        assert "<secret-hidden>" in s.text, s
    assert seen[1].text.replace("<secret-hidden>", "").count("s3cr3t") == 0
    for n in range(8, len(SECRET)):  # no long piece at an edge either
        assert SECRET[:n] not in seen[1].text and SECRET[-n:] not in seen[1].text
        assert SECRET[:n] not in seen[2].text and SECRET[-n:] not in seen[2].text
    saved = re.search(r"all of it is in (\S+),", seen[1].text).group(1)
    assert "s3cr3t" not in open(saved).read()


# ---- the hand itself


def hand_of(server, work):
    """The process that holds the shell of a workspace: the server's own child."""
    for pid in processes_in(work):
        while pid > 1:
            with open(f"/proc/{pid}/stat") as stat:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
            if parent == server.process.pid:
                return pid
            pid = parent
    raise AssertionError("no hand has a process there")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_hand_that_dies_is_told_to_the_agent(server, work, number):
    lines = [run("x=1; echo $$"), run("echo go > sign; sleep 100"), run("echo [$x]; pwd"), FINISH]
    with Others(server), Talk(server, work, lines) as talk:
        talk.start()
        talk.until_kind("ObservationEvent")
        talk.until_kind("ActionEvent")
        deadline = time.monotonic() + 10
        while not (work / "sign").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(hand_of(server, work), number)
        assert talk.until_over() == "finished"
        seen = talk.seen()
    assert seen[1].error, seen[1]
    assert seen[2].text == f"[]\n{work}" and "gone" in seen[2].prefix, seen[2]


def test_the_agent_kills_its_own_hand(server, work):
    kill = "kill -9 $(ps -o ppid= -p $PPID) $PPID; sleep 5"
    with Talk(server, work, [run("cd /"), run(kill), run("pwd"), run(kill), run("echo on"), FINISH]) as talk:
        assert talk.say() == "finished"
        seen = talk.seen()
    assert seen[2].text == "/" and seen[4].text == "on"


def test_many_at_once(server, work):
    """Eight conversations that all do their worst."""
    worst = ["yes", "cat /dev/urandom", "while :; do :; done", "exit 1", "kill -9 $$", "set -e; false", "sleep 100", "vi"]
    talks = [Talk(server, work, [run(w, timeout=1.5), run("", reset=True), run(f"echo fine-{n}"), FINISH]) for n, w in enumerate(worst)]
    try:
        for talk in talks:
            talk.start()
        for n, talk in enumerate(talks):
            assert talk.until_over() == "finished"
            assert talk.seen()[2].text == f"fine-{n}"
    finally:
        for talk in talks:
            talk.socket.close()


def test_the_soft_timeout(patient):
    """30 seconds without output give control back, though the command goes on."""
    assert patient.until_over() == "finished"
    first, second = patient.seen()[:2]
    assert first.exit_code == -1 and first.text == "a" and "30 seconds" in first.suffix and not first.is_error
    assert second.exit_code == 130
    began, ended = (datetime.fromisoformat(patient.events(kind)[0]["timestamp"]) for kind in ("ActionEvent", "ObservationEvent"))
    assert 29.5 < (ended - began).total_seconds() < 35
