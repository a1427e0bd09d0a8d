"""Tasks whose examples are rows of data, as a task file describes them."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from modelshapley.contracts.task_files.descriptions import BadRows
from modelshapley.contracts.task_files.file import Part, TaskFile, placeholders
from modelshapley.errors import BadData
from modelshapley.models.loaded import LoadedModel
from modelshapley.tasks.base import Split, Task
from modelshapley.tasks.data import MAX_LISTED_ROWS, BadRow, MisreadRows, RejectedRow, Row, Table, read_split
from modelshapley.tasks.infos import info_of
from modelshapley.tasks.order import first_share, shuffled, stratified


class DataExample(Protocol):
    """An example from data: knows where it comes from, and its class, if it has one."""

    @property
    def where(self) -> str: ...

    @property
    def label(self) -> str | None: ...


MAX_REASONS = 10  # reasons that a report lists separately
MAX_SELECTIONS = 16  # selections that stay in memory, the most recently used
Selection = tuple[str, str, Split, int, int | None]
E = TypeVar("E", bound=DataExample)
Spec = TypeVar("Spec", bound=TaskFile)


class DataTask(Task[E], Generic[E, Spec]):
    """Base of all kinds of task: assigns rows to parts and handles rows that cannot be used.

    roots, confined: as in :func:`modelshapley.tasks.data.read_split`. Data are read when first needed.
    """

    def __init__(self, spec: Spec, roots: Sequence[Path] = (), confined: bool = True) -> None:
        self.spec = spec
        self.info = info_of(spec)
        self._roots, self._confined = roots, confined
        self._tables: dict[str, Table] = {}
        self._parts: dict[tuple[Split, int], tuple[list[E], list[RejectedRow]]] = {}
        self._selected: OrderedDict[Selection, tuple[list[E], list[RejectedRow]]] = OrderedDict()

    # -- defined by each kind-------------------------------------------------------------------

    @abstractmethod
    def example(self, row: Row, where: str) -> E:
        """Make the example of a row. Raises BadRow."""

    @abstractmethod
    def columns(self) -> list[str]:
        """Return the columns that every row needs."""

    def fit(self, loaded: LoadedModel, example: E) -> None:
        """Raise BadRow if this model cannot take this example."""

    def fit_all(self, loaded: LoadedModel, examples: Iterable[E], seed: int) -> Iterator[E | RejectedRow]:
        """Yield the examples as this model receives them, or the rejected row with its reason."""
        for example in examples:
            try:
                self.fit(loaded, example)
            except BadRow as error:
                yield RejectedRow(example.where, str(error))
            else:
                yield example

    # -- shared by all kinds --------------------------------------------------------------------

    def table(self, split: str) -> Table:
        """Return the rows of a split of the source. Raises BadData."""
        if split not in self._tables:
            spec, needs = self.spec, f"columns {', '.join(self.columns())}"
            if self.info.modality == "image":
                needs += f"; or a folder {split} with pictures in folders named by class"
            table = read_split(spec.source, spec.name, split, self._roots, self._confined, needs)
            self._check(table, split)
            self._tables[split] = table
        return self._tables[split]

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        return self.spec.groups

    def class_of(self, example: E) -> str | None:
        return example.label

    def examples(self, split: Split, seed: int = 0) -> Sequence[E]:
        """Return the examples of the usable rows. Raises BadData if the task says that a bad row stops it."""
        return self._require_usable(split, *self.read_part(split, seed))

    def select(self, loaded: LoadedModel, split: Split, seed: int = 0, limit: int | None = None) -> Sequence[E]:
        key = (loaded.id, loaded.revision, split, seed, limit)
        if key not in self._selected:
            fitted = self.fit_all(loaded, self.examples(split, seed), seed)
            self._selected[key] = _separate(fitted, limit)
        self._selected.move_to_end(key)
        while len(self._selected) > MAX_SELECTIONS:
            self._selected.popitem(last=False)
        return self._require_usable(split, *self._selected[key])

    def read_part(self, split: Split, seed: int = 0) -> tuple[list[E], list[RejectedRow]]:
        """Return the examples of a part and the rows rejected on the way; never raises for these."""
        if (split, seed) not in self._parts:
            self._parts[split, seed] = self._select_rows(split, seed)
        return self._parts[split, seed]

    def skipped_rows(
        self, loaded: LoadedModel | None, split: Split, seed: int = 0, limit: int | None = None
    ) -> list[BadRows]:
        bad = self.read_part(split, seed)[1]
        if loaded is not None:
            self.select(loaded, split, seed, limit)
            bad = [*bad, *self._selected[loaded.id, loaded.revision, split, seed, limit][1]]
        return group_by_reason(bad)

    def content(self) -> Any:
        parts = {self.spec.probe.split, self.spec.test.split}
        spec = self.spec.model_dump(mode="json", exclude={"name", "title", "summary", "source"})
        data = {split: self.table(split).digest for split in sorted(parts)}
        return {"task": spec, "data": data, "field": self.spec.source.field}

    def part(self, split: Split) -> Part:
        return self.spec.probe if split is Split.PROBE else self.spec.test

    def strata(self, table: Table) -> list[Hashable]:
        """Return the values of the class column, by which a part is stratified."""
        column = self.info.classes
        return [str(value) for value in table.column(column)] if column else [None] * len(table.rows)

    def row(self, table: Table, index: int) -> Row:
        """Return a row as `example` takes it: classes by name. Raises BadRow."""
        return self.name_classes(table, table.row(index))

    def name_classes(self, table: Table, row: Row) -> Row:
        """Return a row with the names of its classes instead of their numbers."""
        columns = {self.spec.classes, getattr(self.spec, "label", None)}
        return {**row, **{name: table.class_name(name, row.get(name)) for name in table.names if name in columns}}

    def label_of(self, row: Row) -> str | None:
        """Return the class of a row, as the class column says."""
        value = row.get(self.spec.classes) if self.spec.classes else None
        return None if value is None else str(value)

    def _draw_rows(self, split: Split, seed: int) -> list[int]:
        """Return the rows of a part, in an order of which every prefix is a fair sample."""
        part, table = self.part(split), self.table(self.part(split).split)
        strata = self.strata(table)
        order = stratified(strata, seed)
        probe = self.spec.probe
        # Where both parts come from one split, the test examples are those after the probe examples.
        skipped_share = probe.share if split is Split.TEST and probe.split == part.split else 0.0
        skipped = set(first_share(strata, order, skipped_share)) if skipped_share else set()
        chosen = sorted(set(first_share(strata, order, skipped_share + part.share)) - skipped)
        if split is Split.TEST:
            return [chosen[i] for i in shuffled(len(chosen), seed)]
        return [chosen[i] for i in stratified([strata[i] for i in chosen], seed)]

    def _select_rows(self, split: Split, seed: int) -> tuple[list[E], list[RejectedRow]]:
        good, bad = _separate(self._rows(split, seed if self.spec.seed is None else self.spec.seed), self.spec.limit)
        if self.spec.seed is not None:  # it has chosen the rows; the run's seed only orders them
            order = shuffled(len(good), seed)
            if split is Split.PROBE:
                order = stratified([example.label for example in good], seed)
            good = [good[i] for i in order]
        return good, bad

    def _rows(self, split: Split, seed: int) -> Iterator[E | RejectedRow]:
        table = self.table(self.part(split).split)
        yield from table.bad
        for index in self._draw_rows(split, seed):
            try:
                yield self.example(self.row(table, index), table.place(index))
            except MisreadRows as error:
                raise BadData(f"Task {self.spec.name!r}, {table.place(index)}: {error}.") from None
            except BadRow as error:
                yield RejectedRow(table.place(index), str(error))

    def _require_usable(self, split: Split, good: list[E], bad: list[RejectedRow]) -> list[E]:
        """Return the usable examples, if the task can go on with them. Raises BadData."""
        if bad and self.spec.on_bad == "stop":
            raise BadData(
                f"Task {self.spec.name!r}, {split.value} part: {format_bad_rows(group_by_reason(bad))}. Correct them, "
                "or set `on_bad: skip` in the task, which skips such rows and counts them."
            )
        if not good:
            detail = f": {format_bad_rows(group_by_reason(bad))}" if bad else ""
            raise BadData(
                f"Task {self.spec.name!r} has no example in its {split.value} part, split "
                f"{self.part(split).split!r}{detail}."
            )
        return good

    def _check(self, table: Table, split: str) -> None:
        if not len(table.rows):
            detail = f": {format_bad_rows(group_by_reason(table.bad))}" if table.bad else ""
            raise BadData(f"Split {split!r} of task {self.spec.name!r} is empty{detail}.")
        columns = table.columns()
        for name in (*self.columns(), *filter(None, [self.spec.classes])):
            if name not in columns:
                raise BadData(
                    f"Split {split!r} of task {self.spec.name!r} has no column {name!r}; it has {', '.join(columns)}."
                )


def _separate(rows: Iterator[E | RejectedRow], limit: int | None) -> tuple[list[E], list[RejectedRow]]:
    """Return the first `limit` usable examples and the rows rejected on the way."""
    good: list[E] = []
    bad: list[RejectedRow] = []
    for item in rows:
        if isinstance(item, RejectedRow):
            bad.append(item)
            continue
        good.append(item)
        if limit is not None and len(good) >= limit:
            break
    return good, bad


def group_by_reason(bad: Iterable[RejectedRow]) -> list[BadRows]:
    """Group rejected rows by reason, most frequent first; if there are many reasons, the rarest form one group."""
    rows_by_reason: dict[str, list[str]] = {}
    for row in bad:
        rows_by_reason.setdefault(row.reason, []).append(row.where)
    by_count = sorted(rows_by_reason.items(), key=lambda item: -len(item[1]))
    if len(by_count) > MAX_REASONS:
        rest = [where for _, places in by_count[MAX_REASONS - 1 :] for where in places]
        by_count[MAX_REASONS - 1 :] = [
            (f"{len(by_count) - MAX_REASONS + 1} more reasons, such as: {by_count[MAX_REASONS - 1][0]}", rest)
        ]
    return [BadRows(reason=reason, count=len(places), rows=places[:MAX_LISTED_ROWS]) for reason, places in by_count]


def format_bad_rows(bad: Iterable[BadRows]) -> str:
    """Format rejected rows: '2 rows: no answer found (train.jsonl, row 3; train.jsonl, row 9)'."""
    return "; ".join(
        f"{b.count} {'row' if b.count == 1 else 'rows'}: {b.reason} "
        f"({'; '.join(b.rows)}{'; ...' if b.count > len(b.rows) else ''})"
        for b in bad
    )


def fill_template(template: str, row: Row, extra: Callable[[str], str | None] = lambda _: None) -> str:
    """Fill a template with a row's values. extra: computed values, which precede columns. Raises BadRow."""
    values = {}
    for name in placeholders(template):
        value = extra(name)
        if value is None:
            value = text_of(row, name)
        values[name] = value
    return template.format(**values)


def text_of(row: Row, column: str) -> str:
    """Return a row's value as text. Raises BadRow where it is missing."""
    value = row.get(column)
    not_a_number = isinstance(value, float) and value != value  # how Parquet and pandas write "missing"
    if value is None or not_a_number or (isinstance(value, str) and not value.strip()):
        raise BadRow(f"nothing in column {column!r}")
    if isinstance(value, list | dict | bytes):
        raise BadRow(f"column {column!r} holds no text but a {type(value).__name__}")
    return str(value)
