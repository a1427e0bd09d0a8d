"""Chat templates of a submission: whatever they do, they cost bounded time and memory, and the next one renders."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from modelshapley.errors import ModelShapleyError
from modelshapley.models.confined.templates import TemplateRefusal, TemplateRenderer

MESSAGES = [{"role": "user", "content": "hi"}]
LOOP, END = "{% for i in range(99999) %}", "{% endfor %}"
GOOD = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}>"
TEXT, LIST = "{% set ns = namespace(x='aaaaaaaaaa') %}", "{% set ns = namespace(x=[]) %}"
HOSTILE = {
    "multiplied text": "{{ 'a' * 10000000000 }}",
    "text multiplied again and again": TEXT + LOOP + "{% set ns.x = ns.x + ns.x %}" + END + "{{ ns.x }}",
    "nested loops": LOOP * 3 + END * 3,
    "a large range": "{{ range(100000000) | list }}",
    "a large number": "{{ 10 ** 10 ** 10 }}",
    "a shifted number": "{{ (2 ** 63) ** (2 ** 40) }}",
    "a formatted width": "{{ '%9999999999d' | format(1) }}",
    "a format method": "{{ '{:>9999999999}'.format(1) }}",
    "centred": "{{ 'a' | center(9999999999) }}",
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a loop that grows": LIST + LOOP * 2 + "{% set ns.x = ns.x + [i] %}" + END * 2,
    "deep brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "attributes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ raise_exception.__globals__ }}",
    "not a template": "{% if %}",
    "an endless pattern": "{{ messages[9].content }}",
    "a long answer": "{{ 'a' * 50000000 }}",
}


@pytest.fixture(scope="module")
def renderer() -> Iterator[TemplateRenderer]:
    renderer = TemplateRenderer(cpu_s=2.0)
    assert renderer.render(GOOD, MESSAGES, {"bos_token": "<s>"}) == "<s><user>hi>"
    yield renderer
    renderer.close()


@pytest.mark.parametrize("what", HOSTILE)
def test_limits(renderer: TemplateRenderer, what: str) -> None:
    renderer.render(GOOD, MESSAGES, {})
    started = time.monotonic()
    try:
        text = renderer.render(HOSTILE[what], MESSAGES, {})
    except (ModelShapleyError, TemplateRefusal) as error:
        text = str(error)
    assert len(text) < 1000, text[:100]
    assert "object at" not in text
    assert "<class" not in text
    assert time.monotonic() - started < 20, "it is ended by its limit, however busy the machine"
    assert renderer.render(GOOD, MESSAGES, {}) == "<user>hi>"


def test_a_template_refuses_in_its_own_words(renderer: TemplateRenderer) -> None:
    with pytest.raises(TemplateRefusal, match="no system role"):
        renderer.render("{{ raise_exception('no system role') }}", MESSAGES, {})
