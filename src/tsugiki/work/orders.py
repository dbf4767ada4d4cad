"""From a planned trial to the spec that its process is given.

Called by `study` alone. Holds what all trials of a study share, so that two of them differ in what their plan says and
in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsugiki.config import Design, MethodName, PlanSpec, Recipe
from tsugiki.work.choose import chosen_rank, chosen_rate, ranks_to_try
from tsugiki.work.design import REFERENCE, Measurement, PlannedTrial, evaluations_for
from tsugiki.work.prepare import ALL, TRAIN, subset_name
from tsugiki.work.prior import Prior
from tsugiki.work.spec import CALIBRATION, INSPECTION, Template, TrialSpec, read_result

DECIDED_BY_STUDY = {"learning_rate", "max_steps", "seed"}  # of the recipe: per method, per size, per trial
LOW_RANK: tuple[MethodName, ...] = ("lora", "hybrid")
LOW_RANK_ONLY = ("dora", "rslora", "rank", "rank_spread")
TRAINS_WEIGHTS = ("full", "hybrid")


@dataclass(frozen=True)
class Orders:
    base: str
    design: Design
    plans: Mapping[MethodName, PlanSpec]
    recipe: Recipe
    template: Template
    base_digest: str | None = None
    prior: Prior | None = None  # None before the base is known
    shift: str | None = None  # the file of the shifted rows, where the study has any

    def as_lock(self) -> dict[str, Any]:
        return {
            "design": self.design.model_dump(mode="json"),
            "plans": {method: plan.model_dump(mode="json") for method, plan in self.plans.items()},
            "recipe": self.recipe.model_dump(mode="json", exclude=DECIDED_BY_STUDY),
            "template": self.template,
        }

    @property
    def rank_method(self) -> MethodName | None:
        """Whose search finds the rank of all low-rank plans; None where the user has set it."""
        return next((method for method in LOW_RANK if method in self.plans and self.plans[method].rank == "auto"), None)

    def inspection(self) -> TrialSpec:
        method = self.rank_method
        return self._spec(INSPECTION, "inspect", train=ALL, plans=() if method is None else (self.plans[method],))

    def calibration(self) -> TrialSpec:
        """With the largest rank that a search may train, so that no trial takes longer than it is priced."""
        plans = tuple(self.plans.values())
        if self.rank_method is not None:
            plans = tuple(with_rank(plan, self.expected.largest_rank) for plan in plans)
        return self._spec(CALIBRATION, "calibrate", plans=plans)

    def reference(self) -> TrialSpec:
        return self._spec(REFERENCE, "reference", shots=self.design.shots, shift=self.shift)

    def for_trial(self, trial: PlannedTrial, folder: Path) -> TrialSpec:
        if trial.method is None:
            return self.reference()
        evaluations = evaluations_for(trial.steps, self.recipe.evaluations)
        decided = {"max_steps": trial.steps, "seed": trial.seed, "evaluations": evaluations}
        recipe = held_for(trial.method, self.recipe).model_copy(update=decided)
        if trial.kind == "search":
            largest, finds_rank = self.expected.largest_rank, trial.method == self.rank_method
            return self._spec(
                trial.id,
                "search",
                plans=(with_rank(self.plans[trial.method], largest),),
                recipe=recipe,
                learning_rates=self.expected.rates[trial.method][: trial.tries],
                ranks=ranks_to_try(largest) if finds_rank else (),
            )
        rate = chosen_rate(read_result(folder, search_id(trial.method)), self.expected.rates[trial.method])
        return self._spec(
            trial.id,
            "train",
            plans=(with_rank(self.plans[trial.method], self._rank(folder)),),
            recipe=recipe.model_copy(update={"learning_rate": rate}),
            train=TRAIN if trial.rows is None else subset_name(trial.rows, trial.seed),
            shift=self.shift if trial.rows is None else None,
            measurements=self._measurements(trial, recipe),
        )

    @property
    def expected(self) -> Prior:
        assert self.prior is not None, "a trial before the base was looked at"
        return self.prior

    def _rank(self, folder: Path) -> int:
        method = self.rank_method
        return chosen_rank(None if method is None else read_result(folder, search_id(method)), self.expected.rank)

    def _measurements(self, trial: PlannedTrial, recipe: Recipe) -> tuple[Measurement, ...]:
        """Where a base is held in another way than the reference's, its own loss before training is measured too."""
        other = "retention" in trial.measurements and recipe.quantize != self.recipe.quantize
        return (*trial.measurements, "retention_before") if other else trial.measurements

    def _spec(self, name: str, kind: Any, *, recipe: Recipe | None = None, **values: Any) -> TrialSpec:
        shared = {"base": self.base, "base_digest": self.base_digest, "template": self.template}
        return TrialSpec(id=name, kind=kind, recipe=recipe or self.recipe, **shared, **values)


def plans_for(methods: tuple[MethodName, ...], knobs: PlanSpec) -> dict[MethodName, PlanSpec]:
    """The same knobs for every method, less those that a method does not have."""
    off = {name: PlanSpec.model_fields[name].default for name in LOW_RANK_ONLY}
    return {
        method: knobs.model_copy(update={"method": method, **({} if method in LOW_RANK else off)}) for method in methods
    }


def with_rank(plan: PlanSpec, rank: int) -> PlanSpec:
    """With this rank where it was left to us."""
    return plan.model_copy(update={"rank": rank}) if plan.rank == "auto" else plan


def held_for(method: MethodName, recipe: Recipe) -> Recipe:
    """The recipe as this method can follow it: weights that are trained in full are never held in few bits."""
    return recipe.model_copy(update={"quantize": "none"}) if method in TRAINS_WEIGHTS else recipe


def does_not_fit(folder: Path, method: MethodName | None) -> dict[str, Any] | None:
    """Why this method is already known not to fit into memory here, so that it is not tried again and again."""
    if method is None:
        return None
    calibrated = (read_result(folder, CALIBRATION) or {}).get("does_not_fit", {})
    if method in calibrated:
        return dict(calibrated[method])
    for name in (search_id(method), f"{method}-s0"):
        found = read_result(folder, name)
        if found is not None and found["status"] == "does_not_fit":
            return {"reason": found["reason"], "fix": found["fix"]}
    return None


def search_id(method: MethodName) -> str:
    return f"search-{method}"
