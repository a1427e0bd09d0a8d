"""Task files from tasks of lm-evaluation-harness (0.4). Torch-free; runs no code and imports no lm_eval.

Only what has the same meaning in both is read. Jinja beyond `{{column}}`, Python, and what would change an accuracy
are refused with the reason. What differs slightly becomes a note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import yaml

from modelshapley.contracts.task_files import yaml_text
from modelshapley.contracts.task_files.file import MAX_FILE_BYTES, SPLIT_ALIASES, WHOLE, TaskFile, parse
from modelshapley.errors import BadTask

COLUMN = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)\s*-?\}\}")
NAME = re.compile(r"[A-Za-z_]\w*")
COLUMN_LIST = re.compile(r"\{\{\s*\[\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)+)\s*,?\s*\]\s*\}\}")
LOADERS = {"json", "csv", "parquet"}
CODE = {
    "process_docs": "changes the rows by Python code; save the changed rows as a file",
    "process_results": "scores answers by Python code",
    "custom_dataset": "loads the data by Python code",
    "class": "is a Python class",
    "include": "takes fields from another file; copy them into this one",
    "group": "is a group; import its tasks one by one",
    "use_prompt": "takes its prompt from promptsource; write it into doc_to_text",
    "doc_to_image": "needs pictures beside text",
    "doc_to_audio": "needs sound beside text",
    "gen_prefix": "begins the answer for the model",
}
READ = {
    "task",
    "task_alias",
    "description",
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "training_split",
    "validation_split",
    "test_split",
    "output_type",
    "doc_to_text",
    "doc_to_target",
    "doc_to_choice",
    "target_delimiter",
    "metric_list",
    "filter_list",
    "generation_kwargs",
    "num_fewshot",
    "repeats",
}
NO_EFFECT = {
    "tag",
    "metadata",
    "fewshot_split",
    "fewshot_delimiter",
    "fewshot_config",
    "should_decontaminate",
    "doc_to_decontamination_query",
    "unsafe_code",
}


@dataclass
class Imported:
    """A task file, and notes on where it differs slightly from the task that it was made from."""

    spec: TaskFile
    notes: list[str] = field(default_factory=list)


def import_task(text: str, where: str) -> Imported:
    """Turn the YAML text of an lm-evaluation-harness task into a task file. Raises BadTask with the reason."""
    return _Import(_read(text, where), where).run()


def _read(text: str, where: str) -> Mapping[str, Any]:
    if len(text) > MAX_FILE_BYTES:
        raise BadTask(where, [("", f"is longer than {MAX_FILE_BYTES:,} characters")])
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if (getattr(event, "tag", None) or "").startswith("!function"):
                raise BadTask(where, [("", f"runs Python code (!function {getattr(event, 'value', '')})")])
        data = yaml_text.load_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise BadTask(where, [("", str(error))]) from None
    if not isinstance(data, dict):
        raise BadTask(where, [("", "is not a task of lm-evaluation-harness, which is a mapping of fields")])
    return {str(name): value for name, value in data.items()}


class _Import:
    """One import: the fields of the task, and what is noted on the way."""

    def __init__(self, task: Mapping[str, Any], where: str) -> None:
        self._task, self._where = task, where
        self._notes: list[str] = []

    def run(self) -> Imported:
        self._refuse_unknown()
        output = self._task.get("output_type", "generate_until")
        kinds = {
            "multiple_choice": self._multiple_choice,
            "generate_until": self._generation,
            "loglikelihood": self._likeliest_tokens,
        }
        if output not in kinds:
            raise self._bad("output_type", f"{output!r} has no counterpart; {', '.join(kinds)} have one")
        name = str(self._task.get("task", ""))
        fields = {
            "name": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63],
            "title": str(self._task.get("task_alias") or name)[:200],
            **self._data(),
            "chat": "no",
            **kinds[output](),
        }
        return Imported(parse(fields, self._where), self._notes)

    def _bad(self, name: str, reason: str) -> BadTask:
        return BadTask(self._where, [(name, reason)])

    def _refuse_unknown(self) -> None:
        for name, reason in CODE.items():
            if self._task.get(name):
                raise self._bad(name, reason)
        if not isinstance(self._task.get("task"), str):
            raise self._bad("task", "must be the name of one task; import the tasks of a group one by one")
        for name in self._task.keys() - READ - NO_EFFECT - CODE.keys():
            raise self._bad(name, "is a field that is not known here, so it may change what is right")
        if self._task.get("num_fewshot"):
            raise self._bad("num_fewshot", "puts solved examples into the prompt, which task files cannot; set it to 0")
        if self._task.get("repeats", 1) != 1:
            raise self._bad("repeats", "asks the same question several times; only 1 has a counterpart")

    # -- data ---------------------------------------------------------------------------------------

    def _data(self) -> dict[str, Any]:
        path, kwargs = self._task.get("dataset_path"), self._task.get("dataset_kwargs") or {}
        if not isinstance(path, str) or not isinstance(kwargs, dict):
            raise self._bad("dataset_path", "must name json, csv or parquet, or a dataset of the Hugging Face hub")
        if kwargs.get("trust_remote_code"):
            raise self._bad("dataset_kwargs", "trust_remote_code runs the dataset's Python code")
        if unknown := kwargs.keys() - {"data_files", "data_dir", "field", "revision", "trust_remote_code"}:
            raise self._bad("dataset_kwargs", f"{sorted(map(str, unknown))[0]!r} has no counterpart")
        if path not in LOADERS:
            if "data_files" in kwargs or "data_dir" in kwargs:
                raise self._bad("dataset_kwargs", "files of a hub dataset cannot be selected; download them")
            hub = {"hub": path, "config": self._task.get("dataset_name"), "revision": kwargs.get("revision")}
            return {"source": {name: value for name, value in hub.items() if value}, **self._parts(one_file=False)}
        place, one_file = self._files(kwargs)
        source = {"path": place} | ({"field": kwargs["field"]} if kwargs.get("field") else {})
        return {"source": source, **self._parts(one_file)}

    def _files(self, kwargs: Mapping[str, Any]) -> tuple[str, bool]:
        """Return the path of the data, and whether it is one file without splits."""
        files = kwargs.get("data_files")
        if files is None and isinstance(kwargs.get("data_dir"), str):
            return kwargs["data_dir"], False
        if isinstance(files, str):
            return files, True
        if not isinstance(files, dict) or not all(isinstance(file, str) for file in files.values()):
            raise self._bad("dataset_kwargs.data_files", "must be a file, or a file for each split")
        if len(files) == 1:
            return next(iter(files.values())), True
        folders = {str(PurePosixPath(file).parent) for file in files.values()}
        for split, file in files.items():
            if PurePosixPath(file).stem not in (split, *SPLIT_ALIASES.get(str(split), ())) or len(folders) > 1:
                reason = f"{file!r} must be named after its split, {split!r}, in one folder with the other splits"
                raise self._bad("dataset_kwargs.data_files", reason)
        return folders.pop(), False

    def _parts(self, one_file: bool) -> dict[str, Any]:
        """Return the probe and the test part. The harness measures on the test split, else on the validation split."""
        train, validation, test = (self._task.get(f"{name}_split") for name in ("training", "validation", "test"))
        measured = test or validation
        if not measured:
            raise self._bad("test_split", "is needed, or 'validation_split'")
        scored = train or (validation if test else None)
        if one_file or scored in (None, measured):
            split = WHOLE if one_file else measured
            self._notes.append(f"Split {split!r} is divided: units are scored on one half, accuracy is of the other.")
            return {name: {"split": split, "share": 0.5} for name in ("probe", "test")}
        return {"probe": {"split": scored, "share": 0.2 if train else 1.0}, "test": {"split": measured}}

    # -- questions ----------------------------------------------------------------------------------

    def _prompt(self) -> str:
        delimiter = self._task.get("target_delimiter", " ")
        if delimiter != " ":
            raise self._bad("target_delimiter", f"{delimiter!r} cannot be put before an answer; only a space can")
        prompt = self._template("description", "") + self._template("doc_to_text")
        if prompt[-1:].isspace():
            raise self._bad("doc_to_text", "ends with white space, to which the harness adds a space; end it before")
        return prompt

    def _template(self, name: str, default: Any = None) -> str:
        """Return a field as a template with {column}. A lone word is a column, as in the harness."""
        value = self._task.get(name, default)
        if not isinstance(value, str):
            raise self._bad(name, f"must be text with {{{{column}}}}, not {value!r}")
        if name != "description" and NAME.fullmatch(value):
            return f"{{{value}}}"
        return self._convert(name, value)

    def _convert(self, name: str, template: str) -> str:
        pieces, end = [], 0
        for match in COLUMN.finditer(template):
            pieces += [self._plain(name, template[end : match.start()]), f"{{{match[1]}}}"]
            end = match.end()
        return "".join([*pieces, self._plain(name, template[end:])])

    def _plain(self, name: str, text: str) -> str:
        if logic := re.search(r"\{\{.*?(?:\}\}|$)|\{%.*?(?:%\}|$)|\{#", text, re.DOTALL):
            raise self._bad(name, f"has Jinja that is more than {{{{column}}}}: {logic[0][:60]}")
        return text.replace("{", "{{").replace("}", "}}")

    def _column(self, name: str) -> str:
        """Return the column that a field names, as a lone word or as {{column}}."""
        value = self._task.get(name)
        match = COLUMN.fullmatch(value.strip()) if isinstance(value, str) else None
        if match:
            return match[1]
        if isinstance(value, str) and NAME.fullmatch(value):
            return value
        raise self._bad(name, f"must be a column, alone or as {{{{column}}}}, not {value!r}")

    def _multiple_choice(self) -> dict[str, Any]:
        metrics = self._metrics({"acc", "acc_norm"}) or ["acc"]
        if "acc" not in metrics:
            self._notes.append("acc_norm divides by the characters of a choice; here the mean is over its tokens.")
        self._no_filters()
        fields = {"kind": "multiple-choice", "prompt": self._prompt(), "key": self._column("doc_to_target")}
        return fields | self._choices() | {"score": "sum" if "acc" in metrics else "mean"}

    def _choices(self) -> dict[str, Any]:
        choices = self._task.get("doc_to_choice")
        if isinstance(choices, list):
            return {"choices": [self._convert("doc_to_choice", str(choice)) for choice in choices]}
        if isinstance(choices, str) and (columns := COLUMN_LIST.fullmatch(choices.strip())):
            return {"choices": [f"{{{column.strip()}}}" for column in columns[1].split(",")]}
        return {"choices_column": self._column("doc_to_choice")}

    def _generation(self) -> dict[str, Any]:
        self._metrics({"exact_match"})
        options = self._task.get("generation_kwargs") or {}
        if options.get("do_sample") or options.get("temperature"):
            raise self._bad("generation_kwargs", "draws answers at random; here models write greedily")
        if unknown := options.keys() - {"until", "do_sample", "temperature", "max_gen_toks"}:
            raise self._bad("generation_kwargs", f"{sorted(map(str, unknown))[0]!r} has no counterpart")
        stops = options.get("until") or []
        return {
            "kind": "generation",
            "prompt": self._prompt(),
            "answer": self._template("doc_to_target"),
            **self._rule([stops] if isinstance(stops, str) else stops),
            "max_new_tokens": options.get("max_gen_toks", 256),  # the harness's default
        }

    def _likeliest_tokens(self) -> dict[str, Any]:
        if "perplexity" in self._metrics({"acc", "perplexity"}):
            self._notes.append("The harness's perplexity is of whole answers; the loss here is a mean over tokens.")
        self._no_filters()
        prompt, answer = self._prompt(), self._template("doc_to_target")
        if not answer.startswith(" ") or answer[1:2].isspace():
            reason = "must begin with one space: for loglikelihood the harness puts nothing between prompt and answer"
            raise self._bad("doc_to_target", reason)
        return {"kind": "generation", "prompt": prompt, "answer": answer, "rule": "tokens"}

    def _rule(self, stops: Sequence[str]) -> dict[str, Any]:
        """Return the rule that finds an answer as the filters and stop texts do."""
        step = self._regex_filter()
        if step is None:
            if not stops:
                return {"rule": "exact"}
            ends = "|".join(re.escape(str(stop)) for stop in stops)
            return {"rule": "regex", "pattern": rf"\A\s*((?s:.*?))\s*(?:{ends}|\Z)"}
        pattern, place = str(step.get("regex_pattern", r"#### (\-?[0-9\.\,]+)")), step.get("group_select", 0)
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise self._bad("filter_list", f"{pattern!r} is not a pattern: {error}") from None
        if groups > 1 or (pattern.startswith("(?") and not pattern.startswith("(?:")):
            raise self._bad("filter_list", f"{pattern!r} must have one group and no flags")
        if place not in (0, -1):
            raise self._bad("filter_list", f"group_select {place!r} has no counterpart; 0 and -1 have")
        pattern = pattern if groups else f"({pattern})"
        if stops:
            self._notes.append(f"The harness stops at {list(stops)}; here the model writes until its end.")
        if not any(isinstance(m, dict) and m.get("regexes_to_ignore") for m in self._task.get("metric_list") or ()):
            raise self._bad(
                "metric_list",
                "compares what the filter finds with the whole target, where a task file looks for the answer in both; "
                "give exact_match regexes_to_ignore that leave only the answer of a target",
            )
        self._notes.append(
            "The pattern has to find the answer in the reference as well: see `modelshapley task check`."
        )
        return {"rule": "regex", "pattern": pattern if place == -1 else rf"\A(?s:.*?)(?:{pattern})"}

    def _regex_filter(self) -> Mapping[str, Any] | None:
        """Return the regex step of the first list of filters that has one; None without filters."""
        lists = self._task.get("filter_list") or []
        found: list[Mapping[str, Any]] = []
        for filters in lists:
            steps = [step for step in filters.get("filter", []) if step.get("function") != "take_first"]
            for step in steps:
                if step.get("function") != "regex" or len(steps) > 1:
                    raise self._bad("filter_list", f"{step.get('function')!r} has no counterpart; one regex has")
            found += steps
        if len(found) > 1:
            self._notes.append(f"Of {len(lists)} filters, {lists[0].get('name', 'the first')!r} is used.")
        return found[0] if found else None

    def _no_filters(self) -> None:
        if self._task.get("filter_list"):
            raise self._bad("filter_list", "has no counterpart for this output type")

    def _metrics(self, known: set[str]) -> list[str]:
        """Return the names of the metrics. Raises BadTask for any that is not known."""
        names = []
        for metric in self._task.get("metric_list") or []:
            name = metric.get("metric") if isinstance(metric, dict) else metric
            if name not in known:
                raise self._bad("metric_list", f"{name!r} has no counterpart; {' and '.join(sorted(known))} have one")
            options = metric if isinstance(metric, dict) else {}
            if options.get("ignore_case") or options.get("ignore_punctuation"):
                self._notes.append("The harness ignores case or punctuation; here both count.")
            if ignored := options.get("regexes_to_ignore"):
                self._notes.append(
                    f"The harness ignores {ignored} in both answers; here all that the pattern finds counts."
                )
            names.append(str(name))
        return names
