"""The file editor's results as clients and models see them: images, large contents."""

import base64
import json

import pytest

from talk import Talk, call

FRAME_MAX = 900_000
PNG = b"\x89PNG\r\n\x1a\n"
GIF = b"GIF89a"


@pytest.fixture
def ask(server, model, work):
    opened = []

    def make(*answers, **llm):
        model.plays(*answers, {"tool_calls": [call("finish", message="All done.")]})
        settings = {"model": "openai/test-model", "api_key": "sk-1234567890", "base_url": f"{model.url}/v1", "usage_id": "default",
                    **llm}
        agent = {"kind": "Agent", "llm": settings, "tools": [{"name": "file_editor"}]}
        opened.append(Talk(server, work, model=settings["model"], agent=agent))
        return opened[-1]

    yield make
    for talk in opened:
        talk.socket.close()


def view(path, **more):
    return {"tool_calls": [call("file_editor", command="view", path=str(path), **more)]}


def sent_images(model, request):
    body = model.requests(wait=request)[request - 1]["body"]
    return [part["image_url"]["url"] for m in body["messages"] if isinstance(m["content"], list)
            for part in m["content"] if part["type"] == "image_url"]


def observation(talk):
    return next(e["observation"] for e in talk.events("ObservationEvent") if e["tool_name"] == "file_editor")


def test_a_small_image_is_shown_to_all(ask, model, work):
    (work / "dot.gif").write_bytes(GIF + b"\x01\x00\x01\x00")
    talk = ask(view(work / "dot.gif"))
    assert talk.say() == "finished"
    url = "data:image/gif;base64," + base64.b64encode(GIF + b"\x01\x00\x01\x00").decode()
    text, image = observation(talk)["content"]
    assert text["type"] == "text" and "dot.gif" in text["text"]
    assert image["type"] == "image" and image["image_urls"] == [url]
    assert observation(talk)["path"] == str(work / "dot.gif")
    assert sent_images(model, 2) == [url]


def test_a_large_image_reaches_the_model_whole_and_sockets_reduced(ask, model, work):
    content = PNG + bytes(range(256)) * 12_000
    (work / "large.png").write_bytes(content)
    talk = ask(view(work / "large.png"))
    assert talk.say() == "finished"
    assert sent_images(model, 2) == ["data:image/png;base64," + base64.b64encode(content).decode()]
    image = observation(talk)["content"][1]
    assert image["image_urls"][0].startswith("data:image/") and len(image["image_urls"][0]) < 1000
    assert max(len(json.dumps(frame)) for frame in talk.frames) < FRAME_MAX


def test_an_image_over_the_limit_is_refused(ask, work):
    with open(work / "huge.png", "wb") as out:
        out.write(PNG)
        out.truncate(10 * 1024 * 1024 + 1)
    talk = ask(view(work / "huge.png"))
    assert talk.say() == "finished"
    seen = observation(talk)
    assert seen["is_error"] and "10 MB" in seen["content"][0]["text"] and "path" not in seen


def test_a_model_without_vision_gets_the_text(ask, model, work):
    (work / "dot.gif").write_bytes(GIF)
    talk = ask(view(work / "dot.gif"), disable_vision=True)
    assert talk.say() == "finished"
    assert sent_images(model, 2) == []


def test_large_contents_are_left_out_of_events(ask, work):
    (work / "big.txt").write_text("line\n" * 60_000 + "last\n")
    edit = {"tool_calls": [call("file_editor", command="str_replace", path=str(work / "big.txt"), old_str="last",
                                new_str="LAST")]}
    talk = ask(edit)
    assert talk.say() == "finished"
    seen = observation(talk)
    assert not seen["is_error"] and "old_content" not in seen and "new_content" not in seen
    assert (work / "big.txt").read_text().endswith("line\nLAST\n")
