"""Prompts by hand through the real API, queue and worker: streamed, compared, mapped, kept, cancelled, bounded."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import redis

from backend.queue.leases import lease_key
from modelshapley.client import ApiError, Client
from modelshapley.contracts import Off, Run, Status
from modelshapley.contracts.prompts import Prompt, PromptMapRequest, PromptRequest, PromptStep
from modelshapley.contracts.task_files.file import parse_text
from modelshapley.interventions.weights import scaled_weights
from modelshapley.methods import load_method
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.loading import load
from modelshapley.prompts.reading import read_prompt
from modelshapley.scoring.job import Scoring, score
from modelshapley.tasks.catalog import TaskCatalog
from modelshapley.units import Treatment, UnitKind
from tests.conftest import Server, StartServer
from tests.prompts.test_answers import picture
from tests.prompts.test_writing import generated
from tests.support.in_process import redis_running
from tests.support.short_model import LAYERS as SHORT_LAYERS
from tests.support.short_model import SHORT, put_short_model

OFF = Off(head=[(layer, 4) for layer in range(SHORT_LAYERS)], layer=[3])
REQUEST = PromptRequest(model=SHORT, prompt="The capital of France is", off=OFF, chat="no", max_new_tokens=8)
LONG = REQUEST.model_copy(update={"max_new_tokens": 512, "temperature": 2.0})


@pytest.fixture(scope="module", autouse=True)
def short(server: Server) -> LoadedModel:
    return load(Catalog(server.data).folder(put_short_model(server.data)))


@pytest.fixture(scope="module")
def answered(api: Client) -> Prompt:
    return api.answer(REQUEST)


def test_both_columns_are_what_generate_writes(answered: Prompt, short: LoadedModel) -> None:
    assert answered.status is Status.DONE, answered.error
    prompt = read_prompt(short, REQUEST.prompt or "", REQUEST).tokens
    assert [token.id for token in answered.intact.tokens] == generated(short.model, prompt, 8)
    with scaled_weights(short.model, short.anatomy, OFF.deactivation()):
        assert [token.id for token in answered.changed.tokens] == generated(short.model, prompt, 8)
    assert answered.counts[UnitKind.HEAD] == SHORT_LAYERS
    assert answered.prompt_tokens == len(prompt)


def test_tokens_come_one_by_one_and_a_later_reader_gets_them_all(api: Client) -> None:
    prompt = api.submit_prompt(REQUEST)
    events = list(api.prompt_events(prompt.id))
    steps = [event.data for event in events if isinstance(event.data, PromptStep)]
    states = [event.data for event in events if isinstance(event.data, Prompt)]
    assert [state.status for state in states][-2:] == [Status.RUNNING, Status.DONE]
    assert [step.intact for step in steps] == states[-1].intact.tokens
    assert [step.changed for step in steps] == states[-1].changed.tokens
    assert len(steps) == 8
    (last,) = list(api.prompt_events(prompt.id))
    assert last.data == states[-1] == api.prompt(prompt.id)


def test_without_units_there_is_one_column(api: Client) -> None:
    prompt = api.answer(REQUEST.model_copy(update={"off": Off(), "max_new_tokens": 2}))
    assert (prompt.status, prompt.changed) == (Status.DONE, None)
    assert [position.kl for position in api.prompt_comparison(prompt.id).positions] == [0, 0]


def test_the_comparison_has_each_token_of_the_intact_answer(api: Client, answered: Prompt) -> None:
    positions = api.prompt_comparison(answered.id).positions
    assert [position.id for position in positions] == [token.id for token in answered.intact.tokens]
    for position, token in zip(positions, answered.intact.tokens, strict=True):
        assert np.exp(-position.loss_intact) == pytest.approx(token.probability, abs=1e-4)
        assert token.id in {entry.id for entry in position.next}  # the greedy token is the likeliest
    assert max(position.kl for position in positions) > 0.01


def test_the_same_seed_samples_the_same_text(api: Client) -> None:
    warm = REQUEST.model_copy(update={"temperature": 1.5, "seed": 11})
    one, two = api.answer(warm), api.answer(warm)
    other = api.answer(warm.model_copy(update={"seed": 12}))
    assert (one.intact, one.changed) == (two.intact, two.changed)
    assert one.intact.tokens != other.intact.tokens
    kept = api.keep_prompt(one.id)
    assert kept.comment.startswith("Answer sampled at temperature 1.5. Its accuracy tells only whether")
    run = api.wait(kept.id)
    assert (run.status, run.intact.accuracy) == (Status.DONE, 0.0)


def test_the_map_of_an_answer_and_its_run_are_those_of_its_task(
    api: Client, answered: Prompt, short: LoadedModel
) -> None:
    request = PromptMapRequest(units=[UnitKind.HEAD, UnitKind.LAYER])
    state = api.map_answer(answered.id, request)
    assert state.status is Status.DONE, state.error
    run = api.wait(api.keep_prompt(answered.id, request).id)
    assert run.status is Status.DONE, run.error
    assert run.comment is None
    assert (run.model, run.intact.accuracy, run.limit) == (SHORT, 1.0, 1)
    spec = parse_text(api.task_file(run.task), run.task)
    scoring = Scoring(short, TaskCatalog().open(spec), [load_method("two-sided")], request.units, 1)
    wanted = score(scoring)["two-sided"]
    for unit in request.units:
        scores = api.answer_scores(answered.id, unit)
        np.testing.assert_allclose(np.array(scores.scores).squeeze(), wanted.scores[unit], rtol=1e-4, atol=1e-8)
        assert scores.scores == api.importance_map(run.id, "two-sided", unit).scores
        assert scores.provenance["n"] == 1
    with pytest.raises(ApiError, match="has no neurons"):
        api.answer_scores(answered.id, "neuron")


def test_a_picture_gives_the_probabilities_of_the_classes(api: Client) -> None:
    request = PromptRequest(model=DIGITS_VIT, image=picture(), off=Off(layer=[1]))
    prompt = api.answer(request)
    assert prompt.status is Status.DONE, prompt.error
    (position,) = api.prompt_comparison(prompt.id).positions
    assert sum(entry.intact for entry in position.next) == pytest.approx(1, abs=0.05)
    assert position.kl > 0
    state = api.map_answer(prompt.id)
    assert (state.status, state.units) == (Status.DONE, [UnitKind.NEURON, UnitKind.HEAD, UnitKind.LAYER])
    run = api.wait(api.keep_prompt(prompt.id).id)
    assert run.status is Status.DONE, run.error
    assert run.intact.accuracy == 1
    assert api.answer_scores(prompt.id, "head").scores == api.importance_map(run.id, "two-sided", "head").scores


@pytest.mark.slow  # SmolLM2 writes six answers; tests/prompts has the same with small models
@pytest.mark.parametrize("how", [Treatment("mean"), Treatment("offset", 2.0), Treatment("scale", 0.5)], ids=str)
def test_means_and_offsets_are_those_of_a_runs_task(api: Client, capitals_run: Run, how: Treatment) -> None:
    request = REQUEST.model_copy(update={"model": None, "run": capitals_run.id, "treatment": how})
    prompt = api.answer(request)
    assert prompt.status is Status.DONE, prompt.error
    assert max(position.kl for position in api.prompt_comparison(prompt.id).positions) > 1e-4
    if how.how != "scale":
        with pytest.raises(ApiError, match="give 'run', a finished run"):
            api.submit_prompt(request.model_copy(update={"model": SMOLLM2, "run": None}))


# -- ends early -----------------------------------------------------------------------------------


def until_written(api: Client, prompt: Prompt, tokens: int = 2) -> None:
    steps = 0
    for event in api.prompt_events(prompt.id):
        steps += isinstance(event.data, PromptStep)
        if steps == tokens:
            return
    pytest.fail(f"{steps} tokens")


def ended(api: Client, prompt: Prompt) -> Prompt:
    return next(e.data for e in api.prompt_events(prompt.id) if isinstance(e.data, Prompt) and e.data.status.ended)


def test_a_prompt_is_cancelled_between_two_tokens(api: Client) -> None:
    prompt = api.submit_prompt(LONG)
    until_written(api, prompt)
    api.cancel_prompt(prompt.id)
    state = ended(api, prompt)
    assert (state.status, state.error) == (Status.CANCELLED, "cancelled")
    assert 2 <= len(state.intact.tokens) < 100
    with pytest.raises(ApiError, match="only an open one can be cancelled"):
        api.cancel_prompt(prompt.id)
    with pytest.raises(ApiError, match="available once it is done"):
        api.prompt_comparison(prompt.id)


def test_a_newer_prompt_of_the_session_supersedes_older_ones(api: Client) -> None:
    older = api.submit_prompt(LONG.model_copy(update={"session": "s"}))
    until_written(api, older)
    newer = api.answer(REQUEST.model_copy(update={"session": "s", "max_new_tokens": 2}))
    assert newer.status is Status.DONE
    state = ended(api, older)
    assert state.status is Status.CANCELLED
    assert "superseded" in (state.error or "")


def test_a_closed_page_ends_its_prompt_and_short_work_does_not_wait_for_it(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Nothing of a prompt is in the logs or the database, either."""
    long_request = LONG.model_copy(update={"lease": True, "prompt": "The word xylophone comes from"})
    with redis_running(tmp_path) as url:
        server = start_server(MODELSHAPLEY_REDIS_URL=url, MODELSHAPLEY_LOG="json")
        put_short_model(server.data)
        with Client(server.url) as api:
            api.answer(REQUEST.model_copy(update={"max_new_tokens": 1}))  # the model is loaded
            long = api.submit_prompt(long_request)
            until_written(api, long)
            began = time.monotonic()
            short = api.answer(REQUEST.model_copy(update={"max_new_tokens": 2}))
            assert short.status is Status.DONE
            assert time.monotonic() - began < 15  # the long one takes a minute, and yields in turns
            connection = redis.Redis.from_url(url)
            assert api.prompt(long.id).status is Status.RUNNING
            connection.delete(lease_key(long.id))  # as after LEASE_S without a follower
            connection.close()
            deadline = time.monotonic() + 20
            while not api.prompt(long.id).status.ended and time.monotonic() < deadline:
                time.sleep(0.1)
            state = api.prompt(long.id)
        server.stop()
    assert (state.status, state.error) == (Status.CANCELLED, "its page was closed")
    assert len(state.intact.tokens) > 2
    files = [file for file in server.data.rglob("*") if file.is_file() and not {"demo", "models"} & {*file.parts}]
    assert any(file.suffix == ".sqlite" for file in files)
    assert any(long.id.encode() in file.read_bytes() for file in files)  # the log names the prompt by its id
    assert not any(b"xylophone" in file.read_bytes() for file in files)


@pytest.mark.slow  # a worker counts as lost after 20 seconds without a heartbeat
def test_a_killed_worker_loses_no_prompt(start_server: StartServer) -> None:
    server = start_server()
    put_short_model(server.data)
    with Client(server.url) as api:
        request = REQUEST.model_copy(update={"max_new_tokens": 40})
        whole = api.answer(request)
        prompt = api.submit_prompt(request)
        until_written(api, prompt)
        (worker,) = api.workers()
        os.kill(worker.pid or 0, signal.SIGKILL)
        state = ended(api, prompt)
        assert state.status is Status.DONE, state.error
        assert (state.intact, state.changed) == (whole.intact, whole.changed)
    server.stop()


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"prompt": ""}, 422, "is empty"),
        ({"prompt": "x" * 1_000_000}, 422, "at most 20000 characters"),
        ({"prompt": None}, 422, "give either 'prompt', a text, or 'image'"),
        ({"model": None}, 422, "give either 'model', or 'run'"),
        ({"temperature": -1}, 422, "temperature"),
        ({"temperature": 1e9}, 422, "temperature"),
        ({"max_new_tokens": 10**9}, 422, "max_new_tokens"),
        ({"max_new_tokens": True}, 422, "max_new_tokens"),
        ({"seed": -1}, 422, "seed"),
        ({"off": {"head": [[99, 0]]}}, 422, "layers go from 0 to 5"),
        ({"off": {"expert": [[0, 0]]}}, 422, "has no experts"),
        ({"model": DIGITS_VIT}, 422, "A prompt needs a causal language model"),
        ({"model": "demo:nothing"}, 422, "There is no model 'demo:nothing'"),
        ({"model": None, "run": "nowhere"}, 404, "nowhere"),
        ({"prompt": None, "image": "data:image/png;base64,AAAA"}, 422, "A picture needs a model that classifies"),
        ({"treatment": {"how": "mean"}}, 422, "give 'run'"),
    ],
)
def test_bad_requests_are_refused_in_a_sentence(
    server: Server, change: dict[str, object], status: int, words: str
) -> None:
    body = {k: v for k, v in (REQUEST.model_dump(mode="json") | change).items() if v is not None}
    answer = httpx.post(f"{server.url}/api/v1/prompts", json=body)
    assert words in answer.text, answer.text[:500]
    assert answer.status_code == status
    assert len(answer.text) < 3000
    assert "Traceback" not in answer.text


def test_not_a_number_is_no_temperature(server: Server) -> None:
    body = json.dumps(REQUEST.model_dump(mode="json", exclude_defaults=True) | {"temperature": float("nan")})
    answer = httpx.post(f"{server.url}/api/v1/prompts", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["title"]


def test_what_is_no_picture_fails_with_a_sentence(api: Client) -> None:
    prompt = api.answer(PromptRequest(model=DIGITS_VIT, image="data:image/png;base64,AAAA"))
    assert prompt.status is Status.FAILED
    assert "The picture cannot be used" in (prompt.error or "")


def test_an_unknown_prompt_is_not_found(api: Client) -> None:
    for call in (api.prompt, api.cancel_prompt, api.prompt_comparison, api.map_answer, api.keep_prompt):
        with pytest.raises(ApiError, match="There is no prompt 'nowhere'"):
            call("nowhere")
