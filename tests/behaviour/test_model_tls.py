"""Models over TLS: what is sent arrives whole, whatever its size, and goes to nobody whose certificate is not trusted."""

import shutil
import subprocess

import pytest

from handsd import Handsd
from model_server import ModelServer
from model_talk import problem, words
from talk import Talk

SIZES = [10, 15_000, 17_000, 64_000, 66_000, 200_000, 3_000_000]  # around the sizes of buffers and records


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key.pem", "-out",
                    folder / "certificate.pem", "-days", "3", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return folder / "certificate.pem"


@pytest.fixture(scope="module")
def model(certificate):
    one = ModelServer(certificate.parent / "both.pem")
    yield one
    one.close()


@pytest.fixture(scope="module")
def server(certificate, tmp_path_factory):
    with Handsd(tmp_path_factory.mktemp("handsd") / "data", env={"SSL_CERT_FILE": str(certificate)}) as running:
        yield running


def test_bodies_of_all_sizes_arrive(ask, model):
    for size in SIZES:
        talk = ask({"reset": True}, words("Read."))  # a connection that is kept may be found dead: then it is sent once more
        text = "".join(chr(ord("a") + i % 26) for i in range(size))
        assert talk.say(text) == "finished"
        for request in model.requests():
            assert request["body"]["messages"][-1]["content"] == text


def test_many_at_once(ask, model):
    talks = [ask(default=words("Read.", delay=0.3)) for _ in range(8)]
    for i, talk in enumerate(talks):
        talk.start(f"{i} " + "x" * 100_000)
    for talk in talks:
        assert talk.until_over() == "finished"
    texts = [request["body"]["messages"][-1]["content"] for request in model.requests()]
    assert sorted(texts) == sorted(f"{i} " + "x" * 100_000 for i in range(8))


def test_a_stranger_gets_nothing(model, work, tmp_path):
    model.plays(default=words("Read."))
    llm = {"model": "openai/test-model", "api_key": "sk-secret", "base_url": f"{model.url}/v1", "usage_id": "default", "num_retries": 1}
    with Handsd(tmp_path / "data") as server:
        with Talk(server, work, model=llm["model"], agent={"kind": "Agent", "llm": llm, "tools": []}) as talk:
            assert talk.say() == "error"
            assert "certificate" in problem(talk)["detail"].lower()
    assert model.requests() == []
