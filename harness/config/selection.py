"""Which instances a command is about: terms such as `repo=django/*`, `slice=0:50` or `sample=50@7`, combined."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.errors import InputError
from harness.files import user_path, why_unread

FILTERS = ("repo", "difficulty", "id", "file")
"""Terms that look at one instance at a time."""
KEYS = (*FILTERS, "slice", "sample")
NEED_ROWS = ("difficulty", "slice", "sample")
"""Terms that need the dataset's rows. A repository is in the id, too."""
NEXT_STAGE = "then"
"""Between terms: what follows is applied to what the terms before it leave."""
OR = "|"
"""Between the alternatives of one filter."""
EXAMPLES = "repo=django/*, difficulty=1-4 hours, id=*-1109?, file=ids.txt, slice=0:50, sample=50@7"
SHOWN = 8
"""At most this many values are listed in a message."""

_BEFORE_A_TERM = re.compile(rf"\s+(?=\w+=|{NEXT_STAGE}(?:\s|$))")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?")
_SAMPLE = re.compile(r"([1-9]\d*)(?:@(\d+))?")


class SelectionError(InputError):
    """A term that cannot be read, or that leaves no instance."""


@dataclass(frozen=True)
class Candidate:
    """What a selection can know of an instance."""

    instance_id: str
    repo: str
    """owner/name."""
    difficulty: str | None = None
    """Empty where the dataset does not say; None where the dataset is not at hand."""


@dataclass(frozen=True)
class Term:
    """One condition, as it was written."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"

    @property
    def alternatives(self) -> list[str]:
        return [part.strip() for part in self.value.split(OR)]


@dataclass(frozen=True)
class Selection:
    """Terms that choose instances.

    Filters are applied first, then `slice`, then `sample`, in whatever order they are written; `then` starts a new
    stage, whose terms see only what the stages before it leave.
    """

    stages: tuple[tuple[Term, ...], ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Selection:
        """Read terms; a text may hold several.

        Raises:
            SelectionError: a text is no term, or `slice` or `sample` occurs twice in a stage.
        """
        stages: list[list[Term]] = [[]]
        for text in texts:
            for part in _BEFORE_A_TERM.split(text.strip()):
                if part == NEXT_STAGE:
                    stages.append([])
                else:
                    stages[-1].append(_term(part))
        for stage in stages:
            for key in ("slice", "sample"):
                if sum(term.key == key for term in stage) > 1:
                    raise SelectionError(f"'{key}=' is given twice; put 'then' between them to apply one to the other")
        return cls(tuple(tuple(stage) for stage in stages if stage))

    @property
    def needs_rows(self) -> bool:
        """Whether ids alone do not tell what is chosen: of a difficulty, the dataset's order, or a sample's strata."""
        return any(term.key in NEED_ROWS for stage in self.stages for term in stage)

    def choose(self, candidates: Sequence[Candidate], source: str) -> list[str]:
        """Ids of the chosen instances, in the candidates' order.

        Args:
            candidates: all instances there are.
            source: what they come from, for messages, such as `dataset verified`.

        Raises:
            SelectionError: a term leaves nothing, or names what does not exist; it is named with the nearest values.
        """
        for stage in self.stages:
            candidates = _choose(stage, candidates, source)
            source = f"what {' '.join(map(str, stage))} leaves of {source}"
        return [candidate.instance_id for candidate in candidates]


def narrowed(terms: Sequence[str], further: Sequence[str]) -> list[str]:
    """Terms that apply `further` to what `terms` leave."""
    return [*terms, NEXT_STAGE, *further] if terms and further else [*terms, *further]


def ids_term(ids: Iterable[str]) -> str:
    """The term that chooses exactly these instances."""
    return f"id={OR.join(ids)}"


def with_files_read(terms: Sequence[str]) -> list[str]:
    """The same terms with the ids of each file in place of its name: a file may change after a run has read it."""
    selection = Selection.parse(terms)
    if not any(term.key == "file" for stage in selection.stages for term in stage):
        return list(terms)
    texts: list[str] = []
    for stage in selection.stages:
        texts += [NEXT_STAGE] if texts else []
        texts += [ids_term(read_ids(Path(term.value))) if term.key == "file" else str(term) for term in stage]
    return texts


def read_ids(path: Path) -> list[str]:
    """The instance ids of a file: one a line, with `#` comments, or a JSON list.

    Raises:
        SelectionError: the file cannot be read, or names no instance.
    """
    try:
        text = user_path(path).read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("["):
            ids = json.loads(text)
            if not all(isinstance(name, str) for name in ids):
                raise SelectionError(f"file={path}: expected a JSON list of instance ids")
        else:
            ids = [line.partition("#")[0].strip() for line in text.splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise SelectionError(f"file={path}: cannot be read ({why_unread(error)})") from error
    ids = list(dict.fromkeys(name for name in ids if name))
    if not ids:
        raise SelectionError(f"file={path}: names no instance; expected one id a line")
    return ids


def sample(candidates: Sequence[Candidate], size: int, seed: int) -> set[str]:
    """Ids of a random sample that is stratified by repository and difficulty.

    Each stratum gets its proportional share, rounded by largest remainders. The order of the candidates makes no
    difference: what is drawn follows from a hash of the seed and the id.

    Args:
        candidates: at least `size` of them.
        size: how many to draw.
        seed: another one draws others.
    """
    strata: dict[tuple[str, str], list[str]] = {}
    for one in candidates:
        strata.setdefault((one.repo, one.difficulty or ""), []).append(one.instance_id)
    total = len(candidates)
    quotas = {stratum: size * len(ids) // total for stratum, ids in strata.items()}

    def by_remainder(stratum: tuple[str, str]) -> tuple[int, str]:
        return -(size * len(strata[stratum]) % total), _hash(seed, *stratum)

    for stratum in sorted(strata, key=by_remainder)[: size - sum(quotas.values())]:
        quotas[stratum] += 1
    drawn: set[str] = set()
    for stratum, ids in strata.items():
        drawn.update(sorted(ids, key=lambda name: _hash(seed, name))[: quotas[stratum]])
    return drawn


def _hash(seed: int, *texts: str) -> str:
    return hashlib.sha256("\0".join((str(seed), *texts)).encode()).hexdigest()


def _term(text: str) -> Term:
    key, equals, value = text.partition("=")
    key, value = key.strip(), value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1]
    if not equals or key not in KEYS:
        nearest = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5) if equals else []
        hint = f"; did you mean {nearest[0]}={value}?" if nearest else ""
        raise SelectionError(f"{text!r} selects nothing{hint or f'; a term is one of: {EXAMPLES}'}")
    if not all(part.strip() for part in value.split(OR)):
        raise SelectionError(f"'{key}=': a value is missing, such as {_example(key)}")
    if key == "slice" and (not _SLICE.fullmatch(value)):
        raise SelectionError(f"'slice={value}': expected START:END, such as slice=0:50 for the first fifty")
    if key == "sample" and not _SAMPLE.fullmatch(value):
        raise SelectionError(f"'sample={value}': expected SIZE@SEED, such as sample=50@7")
    return Term(key, value)


def _example(key: str) -> str:
    return next(example for example in EXAMPLES.split(", ") if example.startswith(f"{key}="))


def _choose(stage: Sequence[Term], candidates: Sequence[Candidate], source: str) -> list[Candidate]:
    """The candidates that one stage leaves."""
    if any(one.difficulty is None for one in candidates):
        for term in stage:
            if term.key in NEED_ROWS:
                raise SelectionError(f"{source}: {term} needs the dataset's rows: name them with --tasks")
    left = list(candidates)
    for term in stage:
        if term.key in FILTERS:
            matches = _MATCHERS[term.key](term, candidates, source)
            left = _checked(term, left, [one for one in left if one.instance_id in matches], source)
    for term in stage:
        if term.key == "slice":
            start, end = (int(part) if part else None for part in term.value.split(":"))
            left = _checked(term, left, left[start:end], source)
    for term in stage:
        if term.key == "sample":
            size, _, seed = term.value.partition("@")
            if int(size) > len(left):
                raise SelectionError(f"{source}: {term} asks for more than the {len(left)} instances there are")
            drawn = sample(left, int(size), int(seed or 0))
            left = [one for one in left if one.instance_id in drawn]
    return left


def _checked(term: Term, before: Sequence[Candidate], after: list[Candidate], source: str) -> list[Candidate]:
    if after:
        return after
    values = ""
    if term.key in ("repo", "difficulty"):
        values = f", which are of {_counted(_values(term.key, before))}"
    raise SelectionError(f"{source}: {_short(term)} leaves nothing of {len(before)} instances{values}")


def _short(term: Term) -> str:
    text = str(term)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _by_repo(term: Term, candidates: Sequence[Candidate], source: str) -> set[str]:
    known = _values("repo", candidates)
    matches: set[str] = set()
    for pattern in term.alternatives:
        found = {repo for repo in known if fnmatchcase(repo.casefold(), pattern.casefold())}
        if not found:
            hint = _nearest(pattern, [repo for repo in known if pattern.strip("*") in repo] or list(known))
            raise SelectionError(f"{source}: repo={pattern} matches no repository{hint}; there are {_counted(known)}")
        matches |= {one.instance_id for one in candidates if one.repo in found}
    return matches


def _by_difficulty(term: Term, candidates: Sequence[Candidate], source: str) -> set[str]:
    known = {value: count for value, count in _values("difficulty", candidates).items() if value}
    if not known:
        raise SelectionError(f"{source}: {term} matches nothing; its rows state no difficulty")
    matches: set[str] = set()
    for wanted in term.alternatives:
        exact = [value for value in known if value.casefold() == wanted.casefold()]
        found = exact or [value for value in known if wanted.casefold() in value.casefold()]
        if len(found) != 1:
            fault = "stands for several" if found else "matches no difficulty"
            raise SelectionError(f"{source}: difficulty={wanted} {fault}; there are {_counted(known)}")
        matches |= {one.instance_id for one in candidates if one.difficulty == found[0]}
    return matches


def _by_id(term: Term, candidates: Sequence[Candidate], source: str) -> set[str]:
    known = [one.instance_id for one in candidates]
    exact = {name for name in term.alternatives if not re.search(r"[*?\[]", name)}
    matches = _known_ids(exact, known, source)
    for pattern in term.alternatives:
        if pattern in exact:
            continue
        found = {name for name in known if fnmatchcase(name, pattern)}
        if not found:
            hint = _nearest(pattern, known)
            raise SelectionError(f"{source}: id={pattern} matches none of {len(known)} instances{hint}")
        matches |= found
    return matches


def _by_file(term: Term, candidates: Sequence[Candidate], source: str) -> set[str]:
    names = read_ids(Path(term.value))
    return _known_ids(names, [one.instance_id for one in candidates], f"{source}: {term}")


def _known_ids(wanted: Iterable[str], known: Sequence[str], source: str) -> set[str]:
    present = set(known)
    if unknown := [name for name in wanted if name not in present]:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise SelectionError(
            f"{source}: no instance {', '.join(sorted(unknown)[:5])}{more}{_nearest(sorted(unknown)[0], known)}"
        )
    return set(wanted)


_MATCHERS: Mapping[str, Callable[[Term, Sequence[Candidate], str], set[str]]] = {
    "repo": _by_repo,
    "difficulty": _by_difficulty,
    "id": _by_id,
    "file": _by_file,
}


def _values(key: str, candidates: Sequence[Candidate]) -> Counter[str]:
    return Counter(one.repo if key == "repo" else one.difficulty or "" for one in candidates)


def _counted(values: Mapping[str, int]) -> str:
    shown = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(f"{value or 'none'} ({count})" for value, count in shown[:SHOWN]) + more


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
