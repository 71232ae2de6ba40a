"""The server: what it answers, whom it lets in, and what a restart leaves of its jobs."""

import base64
import io
import json
import socket
import threading
import time

import pytest
import torch
from PIL import Image

from apps.serve.batcher import Asked, rank_together
from apps.serve.errors import UNSAID, public
from apps.serve.gate import Limits
from apps.serve.jobs import Jobs
from apps.serve.makers import refuse_unbelievable
from personagen.tryon.trust import Trust
from recsys.errors import DataError, ResourceError

from .conftest import KEY, serve


def test_a_ranking_is_that_of_the_recommender(opened, studio):
    names = studio.source.catalog.names
    history = studio.history("3")
    status, answer = opened.ask("POST", "/rank", {"history": [*(names[i - 1] for i in history), "no such"], "k": 5})
    found = studio.recommender.recommend(torch.tensor([history]), 5, generator=torch.Generator().manual_seed(0))
    assert status == 200 and answer["unknown"] == 1
    assert answer["items"] == [names[i - 1] for i in found.items[0].tolist()]
    assert answer["scores"] == pytest.approx(found.scores[0].tolist())
    assert opened.ask("POST", "/rank", {"user": "3", "k": 5})[1]["items"] == answer["items"]


def test_those_who_ask_together_get_what_each_would_get_alone(studio):
    asked = [Asked(tuple(studio.history(str(user))), 3 + user, user % 2 == 0) for user in range(6)]
    for one, (items, scores) in zip(asked, rank_together(studio.recommender, asked)):
        alone = rank_together(studio.recommender, [one])[0]
        assert items == alone[0] and len(items) == one.k
        assert scores == pytest.approx(alone[1])


def test_one_bad_question_spoils_no_other(opened):
    answers = {}

    def ask(number):
        body = {"history": ["no such"]} if number == 3 else {"user": str(number)}
        answers[number] = opened.ask("POST", "/rank", body)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert [answers[number][0] for number in range(8)] == [200, 200, 200, 400, 200, 200, 200, 200]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"user": "3", "k": 0}, 422, "k: "),
        ({"user": "3", "colour": "red"}, 422, "colour: "),
        (b"{", 422, "JSON"),
        ({}, 400, "give user or history"),
        ({"user": "99"}, 400, "not in the atelier"),
        ({"history": ["no such"]}, 400, "knows none of the 1 items"),
        ({"history": ["x" * 30_000]}, 413, "larger than the 20,000 bytes"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(opened, body, status, words):
    found, answer = opened.ask("POST", "/rank", body)
    assert (found, list(answer)) == (status, ["error"])
    assert words in answer["error"] and "\n" not in answer["error"] and "/home" not in answer["error"]


def test_what_is_not_there_is_said_in_json(opened):
    assert opened.ask("GET", "/nothing")[0] == 404
    assert "error" in opened.ask("GET", "/rank")[1]
    assert opened.ask("GET", "/jobs/../../etc/passwd")[0] in (400, 404)
    assert opened.ask("GET", "/jobs/" + "0" * 32)[0] == 400


@pytest.mark.parametrize("key", [None, "", "wrong", KEY[:-1], KEY + "x", "\xff\xfe"])
def test_without_the_key_nothing_is_answered(opened, key):
    given = {} if key is None else {"Authorization": f"Bearer {key}"}
    for method, path in (("POST", "/rank"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/docs")):
        client = type(opened.ask)(opened.ask.port)
        assert client(method, path, {} if method == "POST" else None, **given)[0] == 401
    assert type(opened.ask)(opened.ask.port)("GET", "/health") == (200, {"status": "ok"})


def test_pages_of_other_sites_and_names_made_to_point_here_are_refused(opened, studio, tmp_path):
    assert opened.ask("POST", "/rank", {"user": "3"}, Origin="https://else.example")[0] == 403
    free = serve(studio, tmp_path)
    assert free.ask("GET", "/metrics")[0] == 200
    assert free.ask("GET", "/metrics", Host="rebound.example")[0] == 403
    free.uvicorn.should_exit = True


def test_the_page_and_the_counts(opened):
    opened.ask("POST", "/rank", {"user": "1"})
    page = opened.ask("GET", "/docs")[1].decode()
    assert "POST /looks" in page and "exclude_seen" in page and "http" not in page.replace("http-equiv", "")
    counts = opened.ask("GET", "/metrics")[1].decode()
    assert 'personagen_requests_total{method="POST",route="/rank",status="200"}' in counts
    assert "personagen_rank_batch_bucket" in counts
    described = opened.ask("GET", "/openapi.json")[1]
    assert set(described["paths"]) == {"/health", "/metrics", "/rank", "/looks", "/tryon", "/subjects",
                                       "/subjects/{label}", "/jobs/{id}", "/jobs/{id}/events",
                                       "/jobs/{id}/files/{name}"}  # fmt: skip


def raw(port: int, *parts: bytes, pause: float = 0.0, wait: float = 8.0) -> bytes:
    """Send bytes with pauses between them; return what comes until the server closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        try:
            while got := connection.recv(65536):
                answer += got
        except (TimeoutError, ConnectionError):
            answer += b"(open)" if not answer else b""
    return answer


HEAD = b"POST /rank HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"


def test_slow_and_endless_bodies_end(opened):
    slow = raw(opened.ask.port, HEAD + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n", b"{")
    assert slow.startswith(b"HTTP/1.1 408") and b"did not come within 1 seconds" in slow
    piece = b"%x\r\n%s\r\n" % (9000, b"x" * 9000)
    endless = raw(opened.ask.port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", piece, piece, piece)
    assert endless.startswith(b"HTTP/1.1 413")
    assert opened.ask("GET", "/health")[0] == 200


def test_heads_that_never_end_are_closed(opened, monkeypatch):
    from apps.serve.run import Impatient

    monkeypatch.setattr(Impatient, "HEAD_SECONDS", 0.3)
    assert raw(opened.ask.port) == b""
    assert raw(opened.ask.port, b"GET /health HTT") == b""
    once = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    assert raw(opened.ask.port, once, b"GET /hea", pause=0.1).startswith(b"HTTP/1.1 200")


def test_looks_are_a_job_whose_files_come_as_they_are_made(opened, studio):
    order = {"user": "3", "looks": 0, "scenes": 2, "seed": 5}
    status, job = opened.ask("POST", "/looks", order)
    assert status == 202
    assert opened.ask("POST", "/looks", order)[1]["id"] == job["id"]  # who asks again gets the same
    lines = opened.ask("GET", f"/jobs/{job['id']}/events")[1].decode()
    done = opened.ask.finished(job["id"])
    assert done["state"] == "done" and {"looks.json", "sheet.png"} <= set(done["files"])
    made = [event["file"] for event in done["events"]]
    assert len(made) == 2 and all(name in lines for name in made) and '"state": "done"' in lines
    picture = opened.ask("GET", f"/jobs/{job['id']}/files/{made[0]}")[1]
    assert "personagen" in Image.open(io.BytesIO(picture)).info
    for wrong in ("state.json", "..%2Fstate.json", "%2e%2e/state.json"):
        assert opened.ask("GET", f"/jobs/{job['id']}/files/{wrong}")[0] in (400, 404)
    assert opened.ask("DELETE", f"/jobs/{job['id']}")[0] == 204
    assert opened.ask("GET", f"/jobs/{job['id']}")[0] == 400


def test_orders_that_cannot_be_are_refused_at_once(opened):
    for order in ({"user": "3", "looks": 0, "scenes": 0}, {"user": "77"}, {"user": "3", "subject": "nobody"}):
        assert opened.ask("POST", "/looks", order)[0] == 400
    person = {"label": "anna", "name": "person", "photos": ["aGk="], "preset": "person"}
    assert "agreed" in opened.ask("POST", "/subjects", person)[1]["error"]
    assert opened.ask("POST", "/subjects", person | {"label": "../x"})[0] == 422
    assert opened.ask("GET", "/subjects") == (200, [])
    assert opened.ask("DELETE", "/subjects/anna")[0] == 400


def test_a_job_that_fails_says_why_without_places(opened):
    broken = base64.b64encode(b"no picture").decode()
    job = opened.ask("POST", "/tryon", {"person": broken, "garment": broken})[1]
    done = opened.ask.finished(job["id"])
    assert done["state"] == "failed" and "is not a JPEG" in done["error"]


def test_paths_are_cut_to_their_last_part():
    assert "/" not in public(DataError("cannot read /srv/shop/x.csv; see ../data/y.csv and ~/z"))
    assert "/srv" not in public(DataError("cannot read /srv/shop/x.csv, or ./runs/y: no"))
    assert "x.csv" in public(DataError("cannot read /srv/shop/x.csv"))
    assert public(KeyError("/srv/shop")) == UNSAID


def test_jobs_wait_in_a_line_that_ends(tmp_path):
    jobs = Jobs(tmp_path, {"a": lambda bench: None}, most=2)
    jobs.take("a", {"n": 1}), jobs.take("a", {"n": 2})
    with pytest.raises(ResourceError, match="2 jobs are waiting"):
        jobs.take("a", {"n": 3})
    assert jobs.take("a", {"n": 1}) is jobs.take("a", {"n": 1})


def test_what_was_not_finished_goes_on_at_the_next_start(tmp_path):
    begun, go = threading.Event(), threading.Event()

    def make(bench):
        begun.set()
        while not go.is_set():
            if bench.stop():
                return
            time.sleep(0.01)
        file = bench.folder / "made.txt"
        file.write_text(str(bench.order["n"]))
        bench.tell({"file": bench.ready(file)})

    first = Jobs(tmp_path, {"a": make})
    ids = [first.take("a", {"n": n}).id for n in range(3)]
    first.start()
    assert begun.wait(5)
    first.close()
    first.interrupt()
    first._thread.join(5)
    assert not first.running
    go.set()
    second = Jobs(tmp_path, {"a": make})
    assert second.waiting == 3
    second.start()
    for _ in range(200):
        if all(second.get(id).state == "done" for id in ids):
            break
        time.sleep(0.02)
    assert [second.file(second.get(id), "made.txt").read_text() for id in ids] == ["0", "1", "2"]
    assert not list(tmp_path.rglob("order.json"))  # what was sent is gone
    assert json.loads((tmp_path / ids[0] / "state.json").read_text())["state"] == "done"
    second.remove(ids[0])
    with pytest.raises(DataError):
        second.get(ids[0])


def test_who_is_too_many_is_told(studio, tmp_path):
    busy = serve(studio, tmp_path, limits=Limits(requests=0))
    status, answer = busy.ask("POST", "/rank", {"user": "3"})
    assert status == 503 and "too many" in answer["error"]
    busy.server.gate.draining = True
    assert busy.ask("GET", "/health") == (503, {"status": "stopping"})
    busy.uvicorn.should_exit = True


def test_a_try_on_that_nobody_would_believe_is_refused_with_a_remedy():
    refuse_unbelievable(Trust(0.9, "shirt", {}))
    with pytest.raises(DataError, match=r"photo of the garment is the trouble: .* force: true"):
        refuse_unbelievable(Trust(0.1, "shirt", {"uncut": 1.0}))
