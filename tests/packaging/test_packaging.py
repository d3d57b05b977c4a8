"""What is installed works where it lies: the Debian package, and the file system of a container."""

import os
import re
import shutil
import subprocess

import pytest

from handsd import ROOT, Handsd

pytestmark = pytest.mark.timeout(900)  # a release build is among it
WITHOUT_OURS = {k: v for k, v in os.environ.items() if not k.startswith(("HANDSD", "OH_", "SESSION_API", "LLM_"))}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package, unpacked."""
    made = subprocess.run([ROOT / "scripts/deb"], capture_output=True, text=True, env=WITHOUT_OURS)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    file = ROOT / made.stdout.splitlines()[-1]
    into = tmp_path_factory.mktemp("package")
    subprocess.run(["dpkg-deb", "-R", file, into], check=True)
    return into


class Installed(Handsd):
    """A server of an installation: it finds its hand and its pages by itself."""

    def __init__(self, program, data):
        super().__init__(data)
        self.program = program
        self.env = {"HANDSD_HAND": ""}

    def command(self):
        return [str(self.program), *super().command()[1:]]


def test_the_package_says_what_it_needs(package):
    control = (package / "DEBIAN/control").read_text()
    depends = re.search(r"^Depends: (.*)$", control, re.M).group(1)
    for name in ("libc6", "libuv1", "libsqlite3-0", "libssl3", "libcurl4"):
        assert name in depends
    assert "libarchive" not in depends
    assert "llhttp" not in depends and "yyjson" not in depends  # it brings them along
    assert sorted(os.listdir(package / "usr/lib/handsd"))[0].startswith("libllhttp")
    assert os.access(package / "usr/libexec/handsd/hand", os.X_OK)
    assert "libyyjson" in (package / "usr/share/doc/handsd/copyright").read_text()


def test_the_packaged_server_runs_an_agent(package, tmp_path):
    doctor = subprocess.run([package / "usr/bin/handsd", "doctor", "--data", tmp_path / "d"], env=WITHOUT_OURS,
                            capture_output=True, text=True)
    assert str(package / "usr/libexec/handsd/hand") in doctor.stdout, doctor.stdout
    with Installed(package / "usr/bin/handsd", tmp_path / "data") as server:
        swagger = (package / "usr/share/handsd/swagger-ui").is_dir()
        assert ("swagger-ui-bundle.js" in server.http.get("/docs").text) == swagger
        ran = subprocess.run([package / "usr/bin/handsd", "run", "--model", "scripted/demo", "--data", server.data,
                              "--workspace", tmp_path, "hello"], env=WITHOUT_OURS, capture_output=True, text=True)
        assert ran.returncode == 0 and "check passes" in ran.stdout, ran.stdout + ran.stderr


def test_the_unit_is_sound(package, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    unit = tmp_path / "handsd.service"
    text = (package / "usr/lib/systemd/system/handsd.service").read_text()
    unit.write_text(text.replace("/usr/bin/handsd", str(package / "usr/bin/handsd")))
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert not [line for line in checked.stderr.splitlines() if "handsd.service" in line], checked.stderr


def test_make_install_goes_where_it_is_told(tmp_path):
    if not (ROOT / "build/build.ninja").exists():
        pytest.skip("built elsewhere")
    for prefix in ("/opt/one", "/opt/two"):
        made = subprocess.run(["make", "install", f"PREFIX={prefix}", f"DESTDIR={tmp_path}"], cwd=ROOT, capture_output=True, text=True,
                              env=WITHOUT_OURS)
        assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
        installed = tmp_path / prefix[1:]
        doctor = subprocess.run([installed / "bin/handsd", "doctor", "--data", tmp_path / "d"], env=WITHOUT_OURS, capture_output=True, text=True)
        assert str(installed / "libexec/handsd/hand") in doctor.stdout, doctor.stdout
        assert f"ExecStart={prefix}/bin/handsd " in (installed / "lib/systemd/system/handsd.service").read_text()


def test_the_container_runs_an_agent(tmp_path):
    root = tmp_path / "root"
    made = subprocess.run([ROOT / "scripts/rootfs", root], capture_output=True, text=True, env=WITHOUT_OURS)
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    if not (root / "bin/busybox").exists():
        pytest.skip("there is no static busybox, so the container has no shell")
    inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
              f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && exec /usr/sbin/chroot {root} \"$@\"",
              "sh"]
    if subprocess.run([*inside, "/bin/true"], capture_output=True).returncode != 0:
        pytest.skip("no right to mount and to change the root directory")
    ran = subprocess.run(
        [*inside, "/bin/env", "-i", "HOME=/root", "PATH=/usr/bin:/bin", "/usr/bin/handsd", "run", "--model",
         "scripted/demo", "--data", "/data", "--workspace", "/workspace", "hello"], capture_output=True, text=True)
    assert ran.returncode == 0 and "check passes" in ran.stdout, ran.stdout + ran.stderr
    assert (root / "workspace/primes.sh").exists()  # the agent worked in there, with the shell of the container
