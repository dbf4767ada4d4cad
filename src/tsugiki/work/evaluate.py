"""An adapter against its base on a data file: `tsugiki evaluate`.

Runs in the process of the caller. Rows whose prompts the adapter was trained on, or its checkpoint chosen by, are left
out and counted, for quality on them says nothing. Both sides answer the same prompts with the same limits, and are
compared item by item; the rows are also cut into slices, as those of a study are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tsugiki.config import MetricName
from tsugiki.data.check import Findings, check
from tsugiki.data.shapes import Example
from tsugiki.engine.adapter_files import load_adapter, read_manifest
from tsugiki.engine.base import BaseSpec, load_base
from tsugiki.errors import AdapterError, DataError
from tsugiki.measure.metrics import comparable_scores, quality, scores_of
from tsugiki.measure.stats import paired_difference, superiority, unmeasured
from tsugiki.work.assess import SEPARATORS, AnswerShape, answer_all, answer_shape, facts
from tsugiki.work.examples import prompt_mark
from tsugiki.work.prepare import DataSpec, Source, columns_to_slice, read_source
from tsugiki.work.slices import Tested, metric_of_slices, sliced
from tsugiki.work.spec import Template
from tsugiki.work.task import Emit, render_for

Precision = Literal["auto", "float32", "bfloat16"]
LONGEST_ANSWER = 100_000  # tokens
TOO_FEW = "too few rows to estimate"


@dataclass(frozen=True)
class Evaluation:
    adapter: Path
    data: DataSpec
    metric: MetricName
    base: str | None = None  # None: by the name that the adapter was trained with
    confidence: float = 0.95


def evaluate_adapter(wanted: Evaluation, emit: Emit) -> dict[str, Any]:
    about = read_manifest(wanted.adapter) or {}
    source = read_source(wanted.data)
    emit({"event": "reading", "sentence": source.guess.sentence})
    findings = check(source.examples, excluded=source.guess.excluded)
    test, seen = unseen_rows(findings, source, about)
    emit({"event": "phase", "phase": "load"})
    held = about.get("quantize", "none")  # as it was trained: an adapter fits the weights that it has seen
    precision, trained_shape = as_trained(wanted.adapter, about)
    base = load_base(BaseSpec(wanted.base or base_name(wanted.adapter, about), precision=precision, quantize=held))
    template: Template = about.get("template", "plain")
    rendered = render_for(base, template)
    prompts = [rendered(example) for example in test]
    shape = trained_shape or answer_shape(base.tokenizer, test)
    emit({"event": "phase", "phase": "answer base"})
    before = answer_all(base.model, base.tokenizer, prompts, shape)
    trainable = load_adapter(base, wanted.adapter)
    emit({"event": "phase", "phase": "answer"})
    after = answer_all(trainable.model, base.tokenizer, prompts, shape)
    return {
        "adapter": str(wanted.adapter),
        "base": base.identity.name,
        "plan": trainable.plan.describe(),
        "rows": {"tested": len(test), "seen": seen, "excluded": len(findings.excluded)},
        **_compared(wanted, source, findings, test, before, after),
    }


def unseen_rows(findings: Findings, source: Source, about: Mapping[str, Any]) -> tuple[tuple[Example, ...], int]:
    """The rows that neither trained the adapter nor chose its checkpoint, and how many did; DataError for none."""
    marks, digest = set(map(str, about.get("seen") or ())), str(about.get("data_digest", ""))
    test = tuple(example for example in findings.examples if prompt_mark(digest, example.prompt) not in marks)
    seen = len(findings.examples) - len(test)
    if not test:
        raise DataError(
            f"None of the {findings.rows} rows of {source.spec.path.name} can be used for a test: {seen} were seen in "
            f"training, {len(findings.excluded)} are excluded.",
            fix="Pass rows that the adapter has not seen.",
        )
    return test, seen


def as_trained(adapter: Path, about: Mapping[str, Any]) -> tuple[Precision, AnswerShape | None]:
    """Number format of the base and form of the answers, as the manifest has them; it may come from anywhere."""
    recipe: Any = about.get("recipe", {})
    answer: Any = about.get("answer")
    precision: Any = recipe.get("precision", "auto") if isinstance(recipe, Mapping) else None
    if precision not in get_args(Precision):
        raise AdapterError(
            f"The manifest of {adapter} says that the base is held as {precision!r}.",
            fix=f"Known are {', '.join(get_args(Precision))}.",
        )
    if answer is None:
        return precision, None
    tokens, separator = (
        (answer.get("max_new_tokens"), answer.get("separator")) if isinstance(answer, Mapping) else 2 * (None,)
    )
    if not isinstance(tokens, int) or not 1 <= tokens <= LONGEST_ANSWER or separator not in SEPARATORS:
        raise AdapterError(
            f"The manifest of {adapter} describes answers as {str(answer)[:80]}, which cannot be followed.",
            fix="Train the adapter again.",
        )
    return precision, AnswerShape(tokens, separator)


def base_name(adapter: Path, about: Mapping[str, Any]) -> str:
    """The name that the adapter was trained with; AdapterError where its folder does not say."""
    name = about.get("base", {}).get("name")
    if name is None:
        raise AdapterError(f"{adapter} does not say which base it belongs to.", fix="Name the base with --base.")
    return str(name)


def _compared(
    wanted: Evaluation,
    source: Source,
    findings: Findings,
    test: Sequence[Example],
    before: Sequence[str],
    after: Sequence[str],
) -> dict[str, Any]:
    references = [example.completion for example in test]
    group_of = {example.row: group for example, group in zip(findings.examples, findings.groups, strict=True)}
    groups = [group_of[example.row] for example in test]

    def measured(answers: Sequence[str]) -> dict[str, Any]:
        found = quality(wanted.metric, [answers], references, confidence=wanted.confidence, groups=groups)
        return unmeasured(wanted.metric, TOO_FEW, n=len(test)) if found is None else found.as_json(wanted.metric)

    ours, theirs = (comparable_scores(wanted.metric, answers, references) for answers in (after, before))
    difference = paired_difference([ours], [theirs], confidence=wanted.confidence, groups=groups)
    return {
        "quality": measured(after),
        "base_quality": measured(before),
        "difference": unmeasured(wanted.metric, TOO_FEW, n=len(test))
        if difference is None
        else difference.as_json(wanted.metric),
        "p": superiority([ours], [theirs], groups=groups),
        "slices": _slices(
            wanted,
            Tested(test, groups, findings.closed, columns_to_slice(source, test), source.slice_columns),
            before,
            after,
        ),
        "facts": facts(after, references),
        "predictions": [
            {"row": example.row, "expected": example.completion, "base": base, "predicted": answer}
            for example, base, answer in zip(test, before, after, strict=True)
        ],
    }


def _slices(wanted: Evaluation, tested: Tested, before: Sequence[str], after: Sequence[str]) -> dict[str, Any]:
    metric = metric_of_slices(wanted.metric)
    references = [example.completion for example in tested.examples]
    answered = {
        name: [scores_of(metric, answers, references)] for name, answers in (("adapter", after), ("base", before))
    }
    return sliced(tested, answered, "adapter", metric, confidence=wanted.confidence, too_few=TOO_FEW)
