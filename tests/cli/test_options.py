"""What the tables of options are used for: --help, completions and the man page say the same."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from handsd import HANDSD
from terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]


def handsd(*args):
    return subprocess.run([HANDSD, *args], text=True, capture_output=True, timeout=30)


def commands():
    return re.findall(r"^  (\w+) +\w", handsd("--help").stdout.split("Examples:")[0], re.M)


def options(command):
    """As --help lists them; -h and --help aside."""
    found = set()
    for line in handsd(command, "--help").stdout.splitlines():
        match = re.match(r" {2,6}((-\w)?(, )?(--[a-z-]+)?)\b", line)
        if match and line.lstrip().startswith("-"):
            found |= {option for option in (match[2], match[4]) if option}
    return found - {"-h", "--help"}


def test_the_man_page_has_every_option():
    text = (ROOT / "docs" / "handsd.1").read_text().replace("\\-", "-")
    sections = dict(re.findall(r"^\.SS (\w+)\n(.*?)(?=^\.S[SH] )", text, re.M | re.S))
    assert set(sections) == set(commands())
    for command, section in sections.items():
        labels = " ".join(re.findall(r"^\.TP\n(.*)$", section, re.M))
        named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", re.sub(r"\\f[IR]", " ", labels)))
        assert named == options(command), command


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
def test_the_man_page_is_well_formed():
    made = subprocess.run(["groff", "-man", "-Tutf8", "-ww", str(ROOT / "docs" / "handsd.1")], text=True, capture_output=True, timeout=30)
    assert made.returncode == 0 and not made.stderr and "handsd serve" in re.sub("\x1b\\[[0-9;]*m|.\x08", "", made.stdout)


def complete(*words):
    script = handsd("completion", "bash").stdout + """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }; _handsd; printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash", "-euc", script, "bash", "handsd", *words], text=True, capture_output=True, timeout=30, cwd="/")
    assert not done.stderr, done.stderr
    return set(done.stdout.split())


def test_bash_completes():
    assert set(commands()) <= complete("")
    assert complete("doc") == {"doctor"}
    for command in commands():
        assert {o for o in options(command) if o.startswith("--")} <= complete(command, "-")
    assert complete("run", "--confirm", "") == {"never", "risky", "always"}
    assert complete("run", "--confirm", "r") == {"risky"}
    assert "etc" in complete("run", "--workspace", "e")
    assert complete("serve", "--h") == {"--host", "--help"}
    assert complete("completion", "") >= {"bash", "fish", "zsh"}
    assert complete("import", "e") >= {"etc"}


@pytest.mark.parametrize("shell,check", [("zsh", "-n"), ("fish", "--no-execute")])
def test_other_shells(shell, check):
    script = handsd("completion", shell).stdout
    for command in commands():
        assert command in script
        for option in options(command):
            assert option.lstrip("-") in script
    if shutil.which(shell):
        assert subprocess.run([shell, check], input=script, text=True, timeout=30).returncode == 0


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish")
def test_fish_completes(tmp_path):
    (tmp_path / "fish" / "completions").mkdir(parents=True)
    (tmp_path / "fish" / "completions" / "handsd.fish").write_text(handsd("completion", "fish").stdout)
    (tmp_path / "folder").mkdir()
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path),
                   "PATH": f"{Path(HANDSD).parent}:{os.environ['PATH']}"}

    def complete(line):
        done = subprocess.run(["fish", "-c", f"complete -C'{line}'"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
        return {found.split("\t")[0] for found in done.stdout.splitlines()}

    assert set(commands()) <= complete("handsd ")
    assert complete("handsd run --confirm ") == {"never", "risky", "always"}
    assert complete("handsd completion ") == {"bash", "fish", "zsh"} and "folder/" in complete("handsd import ")


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
def test_zsh_completes(tmp_path):
    (tmp_path / "_handsd").write_text(handsd("completion", "zsh").stdout)
    (tmp_path / ".zshrc").write_text(f"fpath=({tmp_path} $fpath)\nautoload -Uz compinit; compinit -u\nPS1='%%> '\n")
    (tmp_path / "folder").mkdir()
    for line, words in (("handsd do", "handsd doctor "), ("handsd run --confirm ", "always  never   risky"), ("handsd completion ", "bash  fish  zsh"),
                        ("handsd import fo", "handsd import folder/"), ("handsd run --co", "never, risky or always (never)")):
        with Terminal(["zsh", "-i"], env={"HOME": str(tmp_path), "ZDOTDIR": str(tmp_path)}, cwd=tmp_path) as shown:
            shown.wait("%> ".strip())
            shown.type(line, enter=False)
            shown.send("Tab")
            shown.wait(words.strip())


def test_words_that_were_meant():
    for args, words in ((["srve"], "is it serve?"), (["run", "--modle", "x"], "is it --model?"), (["doctor", "--dta=x"], "is it --data?"),
                        (["run", "--model"], "--model needs a value"), (["run", "--json=1"], "--json takes no value"),
                        (["run", "-Q"], "no option -Q"), (["run", "--confirm", "x", "y"], "never, risky or always"),
                        (["completion", "csh"], "bash, fish or zsh"), (["serve", "--legacy-port", "none"], "--legacy-port takes off")):
        wrong = handsd(*args)
        assert wrong.returncode == 2 and words in wrong.stderr and not wrong.stdout, (args, wrong.stderr)
    assert handsd("help", "run").stdout == handsd("run", "--help").stdout == handsd("run", "-h").stdout
