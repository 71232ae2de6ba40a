"""`personagen serve`: the server. `build` makes it of a shop, `run` opens it.

POST /rank answers at once, in batches. POST /looks, /tryon and /subjects begin jobs, which are polled at /jobs/{id}, or
followed at /jobs/{id}/events. /openapi.json describes all of it, /docs shows that to people.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse

from personagen import __version__
from recsys.errors import DataError

from .batcher import Answer, Asked, Batcher, rank_together
from .bodies import Failed, JobState, LooksBody, RankBody, Ranked, SubjectBody, SubjectEntry, TryOnBody
from .errors import UNSAID, public, status_of
from .gate import Gate, Limits
from .jobs import ENDED, Job, Jobs
from .makers import learnt, makers, subject_folder
from .meters import Meters
from .onray import Replicas
from .page import page_of
from .shop import Shop

ERRORS: dict[int | str, dict[str, Any]] = {code: {"model": Failed} for code in (400, 401, 403, 404, 413, 422, 500, 503)}
PACE, BEATS = 0.2, 50
"""Seconds between two looks at a job that is followed, and looks after which its followers hear something."""
NO_SUCH = {404: "there is nothing of that name here; see /docs", 405: "that is not done with this method; see /docs"}


class Server:
    """The parts of a server: what answers, what is done, what is counted, and the gate before all."""

    def __init__(
        self,
        shop: Shop,
        folder: Path,
        *,
        key: str | None,
        limits: Limits,
        most: int,
        keep_s: float,
        nice: int = 0,
        handle: Any = None,
    ) -> None:
        self.shop = shop
        self.jobs = Jobs(folder, makers(shop), most=most, keep_s=keep_s, nice=nice)
        self.meters = Meters(waiting=lambda: self.jobs.waiting, running=lambda: self.jobs.running)
        self.batcher: Batcher | Replicas
        if handle is None:
            self.batcher = Batcher(partial(rank_together, shop.recommender), told=self.meters.batch.observe)
        else:
            self.batcher = Replicas(handle, told=self.meters.batch.observe)
        self.gate = Gate(self._app(), key=key, meters=self.meters, limits=limits)

    @property
    def idle(self) -> bool:
        """Whether nothing is in work."""
        return not self.jobs.running and not self.gate.open

    def drain(self) -> None:
        """Take in nothing more."""
        self.gate.draining = True
        self.jobs.close()

    async def rank(self, body: RankBody) -> dict[str, Any]:
        """Answer a request for a ranking."""
        history, unknown = self.shop.history(body.user, body.history)
        answer: Answer = await self.batcher.ask(Asked(history, body.k, body.exclude_seen))
        return {"items": [self.shop.items.names[item] for item in answer[0]], "scores": answer[1], "unknown": unknown}

    def begin(self, kind: str, body: Any) -> dict[str, Any]:
        """Take in a job."""
        self.shop.pictures()
        self.meters.jobs.labels(kind).inc()
        return self.state_of(self.jobs.take(kind, body.model_dump(mode="json")))

    def state_of(self, job: Job) -> dict[str, Any]:
        """Say how far a job is."""
        return {"id": job.id, "kind": job.kind, "state": job.state, "files": self.jobs.files(job),
                "events": list(job.events), "error": job.error}  # fmt: skip

    async def follow(self, job: Job) -> AsyncIterator[str]:
        """Yield what happens to a job as server-sent events, until it has ended."""
        told, state = 0, ""
        for look in itertools.count():
            ended, now = job.state in ENDED or self.gate.draining, job.state
            for event in job.events[told:]:
                told += 1
                yield f"event: made\ndata: {json.dumps(event)}\n\n"
            if now != state:
                state = now
                yield f"event: state\ndata: {json.dumps({'state': state, 'error': job.error})}\n\n"
            if ended:
                return
            if look % BEATS == BEATS - 1:
                yield ": still at it\n\n"
            await asyncio.sleep(PACE)

    def _app(self) -> FastAPI:
        @asynccontextmanager
        async def life(app: FastAPI) -> AsyncIterator[None]:
            self.jobs.start()
            yield
            self.batcher.close()

        about = "From what a person chose to pictures made for that person."
        app = FastAPI(title="Personagen", version=__version__, description=about, lifespan=life, docs_url=None,
                      redoc_url=None, responses=ERRORS)  # fmt: skip
        _add_errors(app)
        _add_state(app, self)
        _add_work(app, self)
        _add_jobs(app, self)
        return app


def _add_errors(app: FastAPI) -> None:
    """Answer every error with one sentence of JSON."""

    async def refused(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": public(error)}, status_of(error))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
        return JSONResponse({"error": f"{place}: {first['msg'][:200]}; see /docs"}, 422)

    async def absent(request: Request, error: Exception) -> Response:
        code = getattr(error, "status_code", 404)
        return JSONResponse({"error": NO_SUCH[code]}, code)

    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": UNSAID}, 500)

    for kind in (ValueError, RuntimeError):  # ConfigError, DataError and ModelError; ResourceError
        app.add_exception_handler(kind, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    for code in NO_SUCH:
        app.add_exception_handler(code, absent)
    app.add_exception_handler(Exception, failed)


def _add_state(app: FastAPI, server: Server) -> None:
    @app.get("/health", summary="Whether work is taken in")
    async def health() -> JSONResponse:
        stopping = server.gate.draining
        return JSONResponse({"status": "stopping" if stopping else "ok"}, 503 if stopping else 200)

    @app.get("/metrics", summary="Counts in Prometheus' text form")
    async def metrics() -> Response:
        return Response(server.meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(page_of(app.openapi()), headers=policy)


def _add_work(app: FastAPI, server: Server) -> None:
    @app.post("/rank", response_model=Ranked, summary="The items that come next")
    async def rank(body: RankBody) -> JSONResponse:
        return JSONResponse(await server.rank(body))

    @app.post("/looks", status_code=202, response_model=JobState, summary="Begin looks of a user or a history")
    def looks(body: LooksBody) -> dict[str, Any]:
        if body.looks + body.scenes == 0:
            raise DataError("looks = 0 and scenes = 0; ask for at least one picture")
        server.shop.pictures()
        server.shop.history(body.user, body.history)  # what cannot be is said at once
        if body.subject:
            subject_folder(server.shop, body.subject)
        return server.begin("looks", body)

    @app.post("/tryon", status_code=202, response_model=JobState, summary="Begin to put a garment on a person")
    def tryon(body: TryOnBody) -> dict[str, Any]:
        return server.begin("tryon", body)

    @app.get("/subjects", response_model=list[SubjectEntry], summary="The subjects that looks can show")
    def subjects() -> Sequence[Any]:
        return learnt(server.shop)

    @app.post("/subjects", status_code=202, response_model=JobState, summary="Begin to learn a subject")
    def teach(body: SubjectBody) -> dict[str, Any]:
        if body.preset == "person" and not body.consent:
            raise DataError("a person must have agreed; send consent: true if so")
        return server.begin("subject", body)

    @app.delete("/subjects/{label}", status_code=204, summary="Forget a subject")
    def forget(label: str) -> None:
        from recsys.folders import remove_folder

        if label not in {entry["label"] for entry in learnt(server.shop)}:
            raise DataError("there is no such subject; ask for the list")
        remove_folder(server.shop.subjects / label)


def _add_jobs(app: FastAPI, server: Server) -> None:
    @app.get("/jobs/{id}", response_model=JobState, summary="How far a job is")
    def job(id: str) -> dict[str, Any]:
        return server.state_of(server.jobs.get(id))

    @app.get("/jobs/{id}/events", summary="What happens to a job, as server-sent events")
    async def events(id: str) -> StreamingResponse:
        headers = {"cache-control": "no-store"}
        return StreamingResponse(server.follow(server.jobs.get(id)), media_type="text/event-stream", headers=headers)

    @app.get("/jobs/{id}/files/{name}", summary="A file of a job", response_class=FileResponse)
    def file(id: str, name: str) -> FileResponse:
        headers = {"x-content-type-options": "nosniff", "cache-control": "private, no-store"}
        return FileResponse(server.jobs.file(server.jobs.get(id), name), headers=headers)

    @app.delete("/jobs/{id}", status_code=204, summary="Stop a job and remove what it made")
    def remove(id: str) -> None:
        server.jobs.remove(id)
