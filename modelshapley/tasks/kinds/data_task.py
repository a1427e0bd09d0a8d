"""A task whose examples are rows of data, as its task file says."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from modelshapley.contracts.task_file import Part, TaskFile, placeholders
from modelshapley.contracts.tasks import BadRows
from modelshapley.errors import BadData
from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.data import SHOWN, Bad, BadRow, Row, Table, read_split
from modelshapley.tasks.infos import info_of
from modelshapley.tasks.order import first_share, shuffled, stratified


class Placed(Protocol):
    """What every example of data knows: where it stands, and its class, if it has one."""

    @property
    def where(self) -> str: ...

    @property
    def label(self) -> str | None: ...


REASONS = 10  # that are told apart
SELECTIONS = 16  # that are kept, the ones used last
Selection = tuple[str, str, Split, int, int | None]
E = TypeVar("E", bound=Placed)
Spec = TypeVar("Spec", bound=TaskFile)


class DataTask(Task[E], Generic[E, Spec]):
    """What all kinds share: which rows are in which part, and what becomes of rows that cannot be used.

    roots, confined: as in :func:`modelshapley.tasks.data.read_split`. Data are read when first asked for.
    """

    def __init__(self, spec: Spec, roots: Sequence[Path] = (), confined: bool = True) -> None:
        self.spec = spec
        self.info = info_of(spec)
        self._roots, self._confined = roots, confined
        self._tables: dict[str, Table] = {}
        self._made: dict[tuple[Split, int], tuple[list[E], list[Bad]]] = {}
        self._selected: OrderedDict[Selection, tuple[list[E], list[Bad]]] = OrderedDict()

    # -- what a kind says -----------------------------------------------------------------------

    @abstractmethod
    def example(self, row: Row, where: str) -> E:
        """The example of a row. Raises BadRow."""

    @abstractmethod
    def columns(self) -> list[str]:
        """The columns that every row needs."""

    def fit(self, loaded: LoadedModel, example: E) -> None:
        """Raise BadRow where this model cannot be given this example."""

    def fitting(self, loaded: LoadedModel, examples: Iterable[E], seed: int) -> Iterator[E | Bad]:
        """The examples as this model is given them, or what is wrong with them."""
        for example in examples:
            try:
                self.fit(loaded, example)
            except BadRow as error:
                yield Bad(example.where, str(error))
            else:
                yield example

    # -- what all kinds do ----------------------------------------------------------------------

    def table(self, split: str) -> Table:
        """The rows of a split of the source. Raises BadData."""
        if split not in self._tables:
            spec, wanted = self.spec, f"columns {', '.join(self.columns())}"
            if self.info.modality == "image":
                wanted += f"; or a folder {split} with pictures in folders named by class"
            table = read_split(spec.source, spec.name, split, self._roots, self._confined, wanted)
            self._check(table, split)
            self._tables[split] = table
        return self._tables[split]

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        return self.spec.groups

    def class_of(self, example: E) -> str | None:
        return example.label

    def examples(self, split: Split, seed: int = 0) -> Sequence[E]:
        """Of the rows that can be read. Raises BadData where the task says that a bad row is to stop it."""
        return self._insist(split, *self.sifted(split, seed))

    def select(self, loaded: LoadedModel, split: Split, seed: int = 0, limit: int | None = None) -> Sequence[E]:
        key = (loaded.id, loaded.revision, split, seed, limit)
        if key not in self._selected:
            fitting = self.fitting(loaded, self.examples(split, seed), seed)
            self._selected[key] = _sift(fitting, limit)
        self._selected.move_to_end(key)
        while len(self._selected) > SELECTIONS:
            self._selected.popitem(last=False)
        return self._insist(split, *self._selected[key])

    def sifted(self, split: Split, seed: int = 0) -> tuple[list[E], list[Bad]]:
        """The examples of a part, and the rows met on the way that cannot be used; never raises for these."""
        if (split, seed) not in self._made:
            self._made[split, seed] = self._make(split, seed)
        return self._made[split, seed]

    def left_out(
        self, loaded: LoadedModel | None, split: Split, seed: int = 0, limit: int | None = None
    ) -> list[BadRows]:
        bad = self.sifted(split, seed)[1]
        if loaded is not None:
            self.select(loaded, split, seed, limit)
            bad = [*bad, *self._selected[loaded.id, loaded.revision, split, seed, limit][1]]
        return by_reason(bad)

    def content(self) -> Any:
        parts = {self.spec.probe.split, self.spec.test.split}
        told = self.spec.model_dump(mode="json", exclude={"name", "title", "summary", "source"})
        data = {split: self.table(split).digest for split in sorted(parts)}
        return {"task": told, "data": data, "field": self.spec.source.field}

    def part(self, split: Split) -> Part:
        return self.spec.probe if split is Split.PROBE else self.spec.test

    def stratum(self, table: Table) -> list[Hashable]:
        """What a part is stratified by: the class column's values."""
        column = self.info.classes
        return [str(value) for value in table.column(column)] if column else [None] * len(table.rows)

    def row(self, table: Table, index: int) -> Row:
        """A row as `example` takes it: classes by name. Raises BadRow."""
        return self.by_name(table, table.row(index))

    def by_name(self, table: Table, row: Row) -> Row:
        """A row with the names of its classes in place of their numbers."""
        columns = {self.spec.classes, getattr(self.spec, "label", None)}
        return {**row, **{name: table.named(name, row.get(name)) for name in table.names if name in columns}}

    def label_of(self, row: Row) -> str | None:
        """The class of a row, as the class column says."""
        value = row.get(self.spec.classes) if self.spec.classes else None
        return None if value is None else str(value)

    def _drawn(self, split: Split, seed: int) -> list[int]:
        """Rows of a part, in an order of which every prefix is a fair sample."""
        part, table = self.part(split), self.table(self.part(split).split)
        strata = self.stratum(table)
        draw = stratified(strata, seed)
        probe = self.spec.probe
        # Of one split, the test examples are those behind the probe examples.
        behind = probe.share if split is Split.TEST and probe.split == part.split else 0.0
        before = set(first_share(strata, draw, behind)) if behind else set()
        mine = sorted(set(first_share(strata, draw, behind + part.share)) - before)
        if split is Split.TEST:
            return [mine[i] for i in shuffled(len(mine), seed)]
        return [mine[i] for i in stratified([strata[i] for i in mine], seed)]

    def _make(self, split: Split, seed: int) -> tuple[list[E], list[Bad]]:
        good, bad = _sift(self._rows(split, seed if self.spec.seed is None else self.spec.seed), self.spec.limit)
        if self.spec.seed is not None:  # it has drawn which; the run's seed says in what order
            order = shuffled(len(good), seed)
            if split is Split.PROBE:
                order = stratified([example.label for example in good], seed)
            good = [good[i] for i in order]
        return good, bad

    def _rows(self, split: Split, seed: int) -> Iterator[E | Bad]:
        table = self.table(self.part(split).split)
        yield from table.bad
        for index in self._drawn(split, seed):
            try:
                yield self.example(self.row(table, index), table.place(index))
            except BadRow as error:
                yield Bad(table.place(index), str(error))

    def _insist(self, split: Split, good: list[E], bad: list[Bad]) -> list[E]:
        """The good ones, where the task can go on with them. Raises BadData."""
        if bad and self.spec.on_bad == "stop":
            raise BadData(
                f"Task {self.spec.name!r}, {split.value} part: {in_words(by_reason(bad))}. Mend them, or set "
                "`on_bad: skip` in the task, which leaves such rows out and counts them."
            )
        if not good:
            told = f": {in_words(by_reason(bad))}" if bad else ""
            raise BadData(
                f"Task {self.spec.name!r} has no example in its {split.value} part, split "
                f"{self.part(split).split!r}{told}."
            )
        return good

    def _check(self, table: Table, split: str) -> None:
        if not len(table.rows):
            told = f": {in_words(by_reason(table.bad))}" if table.bad else ""
            raise BadData(f"Split {split!r} of task {self.spec.name!r} is empty{told}.")
        columns = table.columns()
        for name in (*self.columns(), *filter(None, [self.spec.classes])):
            if name not in columns:
                raise BadData(
                    f"Split {split!r} of task {self.spec.name!r} has no column {name!r}; it has {', '.join(columns)}."
                )


def _sift(found: Iterator[E | Bad], limit: int | None) -> tuple[list[E], list[Bad]]:
    """The first `limit` that can be used, and what was met on the way that cannot."""
    good: list[E] = []
    bad: list[Bad] = []
    for item in found:
        if isinstance(item, Bad):
            bad.append(item)
            continue
        good.append(item)
        if limit is not None and len(good) >= limit:
            break
    return good, bad


def by_reason(bad: Iterable[Bad]) -> list[BadRows]:
    """Bad rows together that are bad for the same reason, most first; the rarest, if there are many, as one."""
    rows: dict[str, list[str]] = {}
    for one in bad:
        rows.setdefault(one.reason, []).append(one.where)
    told = sorted(rows.items(), key=lambda item: -len(item[1]))
    if len(told) > REASONS:
        rest = [where for _, at in told[REASONS - 1 :] for where in at]
        told[REASONS - 1 :] = [(f"{len(told) - REASONS + 1} more reasons, such as: {told[REASONS - 1][0]}", rest)]
    return [BadRows(reason=reason, count=len(at), rows=at[:SHOWN]) for reason, at in told]


def in_words(bad: Iterable[BadRows]) -> str:
    """'2 rows: no answer found (train.jsonl, row 3; train.jsonl, row 9)'."""
    return "; ".join(
        f"{b.count} {'row' if b.count == 1 else 'rows'}: {b.reason} "
        f"({'; '.join(b.rows)}{'; ...' if b.count > len(b.rows) else ''})"
        for b in bad
    )


def filled(template: str, row: Row, extra: Callable[[str], str | None] = lambda _: None) -> str:
    """A template with a row's values. extra: values made for it, which go before columns. Raises BadRow."""
    values = {}
    for name in placeholders(template):
        value = extra(name)
        if value is None:
            value = text_in(row, name)
        values[name] = value
    return template.format(**values)


def text_in(row: Row, column: str) -> str:
    """A row's value as text. Raises BadRow where it is missing."""
    value = row.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise BadRow(f"nothing in column {column!r}")
    if isinstance(value, list | dict | bytes):
        raise BadRow(f"column {column!r} holds no text but a {type(value).__name__}")
    return str(value)
