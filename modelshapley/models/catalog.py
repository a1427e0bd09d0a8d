"""Catalogue of models and the contents of their folders; torch-free, so that the API can use it.

A model id is ``demo:NAME`` (part of the project), ``local:NAME`` (a folder NAME under one of the allowed
roots), ``derived:NAME`` (made from a map) or ``hub:OWNER/NAME@REVISION`` (on the Hugging Face hub, or in its cache).
Weights are safetensors or nothing: a folder that holds only pickles is refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from modelshapley.architectures.anatomy import Anatomy
from modelshapley.architectures.families import anatomy_of
from modelshapley.contracts import ModelInfo
from modelshapley.errors import Conflict, ModelShapleyError, NotFound, UnknownName, UnsafeModel, UnsupportedModel
from modelshapley.models import hub
from modelshapley.models.headers import read_config, tensor_shapes

log = logging.getLogger(__name__)

PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt", "*.h5", "*.msgpack")
DIGITS_VIT = "demo:digits-vit"
SMOLLM2 = "demo:smollm2-135m"
HUB, LOCAL, DERIVED = "hub:", "local:", "derived:"
MAX_ID_LENGTH = 200
TITLES = {DIGITS_VIT: "Digits ViT (4 layers)", SMOLLM2: "SmolLM2-135M-Instruct"}
MAX_CACHED_FOLDERS = 256
ASSETS = Path(__file__).parents[1] / "assets"
UPLOADS = ".uploads"
FINISHED = f"{UPLOADS}/finished"  # a file for each uploaded model, with the inode of its folder
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class ModelFolder:
    """A folder that passed the checks of :func:`inspect_folder`."""

    id: str
    path: Path
    config: dict[str, Any]
    anatomy: Anatomy
    parameters: int  # count of numbers in its weights; tied ones count as often as they are saved

    def stamp(self) -> Stamp:
        """Return names, sizes and times of the files: equal stamps mean unchanged files, without reading them."""
        return _stamp_of(self.path)

    def revision(self) -> str:
        """Return the sha256 over the names and bytes of config and weights, which identifies what is scored."""
        digest = hashlib.sha256()
        for file in sorted([self.path / "config.json", *self.path.glob("*.safetensors")]):
            digest.update(file.name.encode() + b"\0")
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


def inspect_folder(model_id: str, path: Path) -> ModelFolder:
    """Check a folder without loading it.

    Raises UnsafeModel (pickled weights, code of its own), UnsupportedModel (no config or weights, unknown family).
    """
    config_file = path / "config.json"
    if not config_file.is_file() and (path / "adapter_config.json").is_file():
        raise UnsupportedModel(
            f"{model_id!r} is a LoRA adapter, which peft adds to its parent; to score the result, save a whole model."
        )
    if not config_file.is_file():
        raise UnsupportedModel(f"{model_id!r} has no config.json; save it with transformers' save_pretrained.")
    config = read_config(model_id, config_file)
    _refuse_code(model_id, config)
    _refuse_quantised(model_id, config)
    if not any(path.glob("*.safetensors")):
        pickles = sorted(file.name for pattern in PICKLES for file in path.glob(pattern))
        if pickles:
            raise UnsafeModel(
                f"{model_id!r} holds its weights as {pickles[0]}, which may run code when opened. "
                "Save it again with save_pretrained(..., safe_serialization=True)."
            )
        raise UnsupportedModel(f"{model_id!r} has no *.safetensors file.")
    tensors = tensor_shapes(model_id, path)
    return ModelFolder(model_id, path, config, anatomy_of(config, tensors), sum(map(prod, tensors.values())))


def _refuse_code(model_id: str, config: dict[str, Any]) -> None:
    if "auto_map" in config:
        raise UnsafeModel(
            f"{model_id!r} needs its own code to run (auto_map in config.json), which is never done. "
            "Choose a model of a supported architecture."
        )


def _refuse_quantised(model_id: str, config: dict[str, Any]) -> None:
    quantisation = config.get("quantization_config")
    if quantisation:
        method = quantisation.get("quant_method") if isinstance(quantisation, dict) else "quantization_config"
        raise UnsupportedModel(
            f"The weights of {model_id!r} are quantised ({method}), and units are scored on "
            "plain weights only. Use the model that it was made from, or dequantise it and save it again."
        )


class Catalog:
    """Models by id.

    data: the data directory. roots: folders whose subfolders are `local:` models. hub: whether hub models are allowed.
    """

    def __init__(self, data: Path, roots: Sequence[Path] = (), hub: bool = True) -> None:
        self.hub = hub
        self.data = data
        self._fetched: set[str] = set()
        self._inspected: OrderedDict[tuple[str, Path], tuple[Stamp, ModelFolder | ModelShapleyError]] = OrderedDict()
        self.roots = [root.resolve() for root in (roots or [data / "models"])]
        self.derived_root = (data / "derived").resolve()

    @property
    def smollm2_folder(self) -> Path:
        """Folder of the converted demo language model, once it has been prepared."""
        return self.data / "demo" / "smollm2-135m"

    def folder(self, model_id: str) -> ModelFolder:
        """Return the validated folder of a model. Raises UnknownName, UnsafeModel or UnsupportedModel.

        A folder is inspected again only after a change of its files, whether it was usable or not.
        """
        path = self._path(model_id)
        key, stamp = (model_id, path), _readable_stamp(model_id, path)
        cached = self._inspected.get(key)
        if cached is None or cached[0] != stamp:
            cached = stamp, _inspection(model_id, path)
            self._inspected[key] = cached
            while len(self._inspected) > MAX_CACHED_FOLDERS:
                self._inspected.popitem(last=False)
        if isinstance(cached[1], ModelShapleyError):
            raise type(cached[1])(str(cached[1]))
        return cached[1]

    def anatomy(self, model_id: str) -> Anatomy:
        """Return ``folder(...).anatomy``, also for a demo model that is not prepared and a hub model that is not
        fetched.
        """
        if self._unprepared(model_id):
            return anatomy_of(_smollm2_config())
        if self._only_on_hub(model_id):
            return anatomy_of(*self._remote(model_id))
        return self.folder(model_id).anatomy

    def config_and_parameters(self, model_id: str) -> tuple[dict[str, Any], int | None]:
        """Return the config and the number of parameters; None for a demo model that has not been prepared yet."""
        if self._unprepared(model_id):
            return _smollm2_config(), None
        if self._only_on_hub(model_id):
            config, tensors = self._remote(model_id)
            return config, sum(map(prod, tensors.values()))
        folder = self.folder(model_id)
        return folder.config, folder.parameters

    def pin(self, model_id: str) -> str:
        """Return an id that always means the same model: for a hub model, with the current commit of its revision.

        Raises UnsupportedModel.
        """
        if not model_id.startswith(HUB):
            return model_id
        pin = HUB + hub.pin(self._hub_name(model_id))
        if len(pin) > MAX_ID_LENGTH:
            raise UnsupportedModel(
                f"{pin!r} is longer than {MAX_ID_LENGTH} characters; put its folder among the local models instead."
            )
        return pin

    def fetch(self, model_id: str, on_bytes: hub.OnBytes = lambda done, total: None) -> None:
        """Fetch a hub model unless it is cached; do nothing for other models. Raises UnsupportedModel.

        on_bytes: called from any thread with the bytes received and their total.
        """
        if model_id.startswith(HUB) and model_id not in self._fetched:
            hub.model_folder(self._hub_name(model_id), on_bytes)
            self._fetched.add(model_id)

    def _hub_name(self, model_id: str) -> str:
        """Return OWNER/NAME@REVISION of a hub model. Raises UnsupportedModel, UnknownName."""
        if not self.hub:
            raise UnsupportedModel(
                f"This server takes no models from the Hugging Face hub (MODELSHAPLEY_HUB), such as {model_id!r}; "
                "upload it, or name one of its local models."
            )
        name = model_id.removeprefix(HUB)
        if not hub.is_name(name):
            raise UnknownName("model", model_id, [*self.ids(), "hub:OWNER/NAME@REVISION"])
        return name

    def _only_on_hub(self, model_id: str) -> bool:
        return model_id.startswith(HUB) and hub.cached_folder(self._hub_name(model_id)) is None

    def _remote(self, model_id: str) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
        config, tensors = hub.read_remote(hub.pin(self._hub_name(model_id)))
        _refuse_code(model_id, config)
        return config, tensors

    def _unprepared(self, model_id: str) -> bool:
        return model_id == SMOLLM2 and not (self.smollm2_folder / "config.json").exists()

    def ids(self) -> list[str]:
        """Return the ids of the demo, local and derived models."""
        found: dict[str, set[str]] = {LOCAL: set(), DERIVED: set()}
        for scheme, root in (*((LOCAL, root) for root in self.roots), (DERIVED, self.derived_root)):
            with suppress(OSError):  # it is not there, or cannot be read
                found[scheme] |= {scheme + path.name for path in root.iterdir() if _is_model(path)}
        return [DIGITS_VIT, SMOLLM2, *sorted(found[LOCAL]), *sorted(found[DERIVED])]

    def known(self, model_id: str) -> None:
        """Raise NotFound unless this is a demo, local or derived model, usable or not."""
        if model_id not in self.ids():
            raise NotFound(f"There is no model {model_id[:MAX_ID_LENGTH]!r}.")

    def delete(self, model_id: str, is_used: Callable[[str], bool] = lambda _: False) -> None:
        """Delete the folder of an uploaded or derived model.

        is_used: asked once nobody can see the model any more; where a run has begun to need it, it comes back. Raises
        NotFound, and Conflict for another model, or one that is used.
        """
        self.known(model_id)
        if model_id.startswith(DERIVED):
            folder = self.derived_root / model_id.removeprefix(DERIVED)
            hidden = folder.with_name(f".deleted-{uuid.uuid4().hex[:12]}")  # from then on nobody sees half a model
            folder.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
            return
        root = self.roots[0]
        path = root / model_id.removeprefix(LOCAL)
        if not model_id.startswith(LOCAL) or path.is_symlink() or not _was_uploaded(path):
            raise Conflict(f"{model_id!r} was not uploaded; only uploaded and derived models can be deleted here.")
        # Renamed first: from then on nobody sees half a model. `.uploads` is on the same disk.
        trash = root / UPLOADS / f"deleted-{uuid.uuid4().hex[:12]}"
        path.rename(trash)
        if is_used(model_id):
            trash.rename(path)
            raise Conflict(f"A run of {model_id!r} was just submitted.")
        (root / FINISHED / path.name).unlink(missing_ok=True)
        shutil.rmtree(trash, ignore_errors=True)

    def describe(self, model_id: str) -> ModelInfo:
        """Describe a model for the API; a folder that cannot be used is described with the reason."""
        title = TITLES.get(model_id, model_id.partition(":")[2])
        try:
            anatomy = self.anatomy(model_id)
        except ModelShapleyError as error:
            return ModelInfo(id=model_id, title=title, usable=False, problem=str(error))
        except Exception as error:  # whatever is wrong with one folder must not hide the others
            log.exception("cannot describe %r", model_id)
            problem = f"The files of {model_id!r} cannot be read ({type(error).__name__}); see the server's log."
            return ModelInfo(id=model_id, title=title, usable=False, problem=problem)
        return ModelInfo(
            id=model_id,
            title=title,
            family=anatomy.model_type,
            modality=anatomy.modality,
            shapes=anatomy.shapes.as_dict(),
            layout=anatomy.layout,
            auto_class=anatomy.auto_class,
        )

    def _path(self, model_id: str) -> Path:
        if model_id == DIGITS_VIT:
            return ASSETS / "digits-vit"
        if model_id == SMOLLM2:
            return self.smollm2_folder
        if model_id.startswith(HUB):
            path = hub.cached_folder(self._hub_name(model_id))
            if path is None:
                raise UnsupportedModel(f"{model_id!r} is not on this machine (yet); a worker fetches it.")
            return path
        scheme, _, name = model_id.partition(":")
        roots = {LOCAL: self.roots, DERIVED: [self.derived_root]}.get(f"{scheme}:")
        if roots and name and Path(name).name == name and not name.startswith(".") and name.isprintable():
            for root in roots:
                path = (root / name).resolve()
                if path.is_dir() and path.is_relative_to(root):
                    return path
        raise UnknownName("model", model_id, self.ids())


def _is_model(path: Path) -> bool:
    """Return whether a path is a model; uploads in progress lie in hidden folders (backend.store.uploading).

    A name that is no text (bytes that are not UTF-8) cannot be named in a request, and is left out.
    """
    return path.is_dir() and not path.name.startswith(".") and path.name.isprintable()


def mark_uploaded(path: Path) -> None:
    """Mark a folder as uploaded, and so as one that may be deleted."""
    mark = path.parent / FINISHED / path.name
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(str(path.stat().st_ino))


def _was_uploaded(path: Path) -> bool:
    """Return whether this very folder was uploaded, not another of its name that was put there later."""
    with suppress(OSError):
        return (path.parent / FINISHED / path.name).read_text() == str(path.stat().st_ino)
    return False


def _stamp_of(path: Path) -> Stamp:
    files = [(file, file.stat()) for file in sorted(path.iterdir())]
    return tuple((file.name, stat.st_size, stat.st_mtime_ns) for file, stat in files)


def _readable_stamp(model_id: str, path: Path) -> Stamp:
    """Return the stamp of a folder. Raises UnsupportedModel if its files cannot be listed (a link to nowhere, say)."""
    try:
        return _stamp_of(path)
    except OSError as error:
        raise UnsupportedModel(f"The files of {model_id!r} cannot be read: {error.strerror}.") from error


def _inspection(model_id: str, path: Path) -> ModelFolder | ModelShapleyError:
    try:
        return inspect_folder(model_id, path)
    except ModelShapleyError as error:
        return error


def _smollm2_config() -> dict[str, Any]:
    config: dict[str, Any] = json.loads((ASSETS / "smollm2-135m.json").read_text(encoding="utf-8"))
    return config
