"""From a planned trial to the spec that its process is given.

Called by `study` alone. Holds what all trials of a study share, so that two of them differ in what their plan says and
in nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tsugiki.config import Design, MethodName, PlanSpec, Recipe
from tsugiki.work.choose import chosen_rate, learning_rates
from tsugiki.work.design import REFERENCE, Measurement, PlannedTrial, evaluations_for
from tsugiki.work.prepare import ALL, TRAIN, subset_name
from tsugiki.work.spec import CALIBRATION, INSPECTION, Template, TrialSpec, read_result

DECIDED_BY_STUDY = {"learning_rate", "max_steps", "seed"}  # of the recipe: per method, per size, per trial
LOW_RANK_ONLY = ("dora", "rslora")
TRAINS_WEIGHTS = ("full", "hybrid")


@dataclass(frozen=True)
class Orders:
    base: str
    design: Design
    plans: Mapping[MethodName, PlanSpec]
    recipe: Recipe
    template: Template
    base_digest: str | None = None
    shift: str | None = None  # the file of the shifted rows, where the study has any

    def as_lock(self) -> dict[str, Any]:
        return {
            "design": self.design.model_dump(mode="json"),
            "plans": {method: plan.model_dump(mode="json") for method, plan in self.plans.items()},
            "recipe": self.recipe.model_dump(mode="json", exclude=DECIDED_BY_STUDY),
            "template": self.template,
        }

    def on_base(self, digest: str, *, shift: str | None = None) -> Orders:
        return replace(self, base_digest=digest, shift=shift)

    def inspection(self) -> TrialSpec:
        return self._spec(INSPECTION, "inspect", train=ALL)

    def calibration(self) -> TrialSpec:
        return self._spec(CALIBRATION, "calibrate", plans=tuple(self.plans.values()))

    def reference(self) -> TrialSpec:
        return self._spec(REFERENCE, "reference", shots=self.design.shots, shift=self.shift)

    def for_trial(self, trial: PlannedTrial, folder: Path) -> TrialSpec:
        if trial.method is None:
            return self.reference()
        plan = (self.plans[trial.method],)
        evaluations = evaluations_for(trial.steps, self.recipe.evaluations)
        decided = {"max_steps": trial.steps, "seed": trial.seed, "evaluations": evaluations}
        recipe = held_for(trial.method, self.recipe).model_copy(update=decided)
        if trial.kind == "search":
            rates = learning_rates(trial.method, trial.tries)
            return self._spec(trial.id, "search", plans=plan, recipe=recipe, learning_rates=rates)
        rate = chosen_rate(read_result(folder, search_id(trial.method)), trial.method)
        return self._spec(
            trial.id,
            "train",
            plans=plan,
            recipe=recipe.model_copy(update={"learning_rate": rate}),
            train=TRAIN if trial.rows is None else subset_name(trial.rows, trial.seed),
            shift=self.shift if trial.rows is None else None,
            measurements=self._measurements(trial, recipe),
        )

    def _measurements(self, trial: PlannedTrial, recipe: Recipe) -> tuple[Measurement, ...]:
        """Where a base is held in another way than the reference's, its own loss before training is measured too."""
        other = "retention" in trial.measurements and recipe.quantize != self.recipe.quantize
        return (*trial.measurements, "retention_before") if other else trial.measurements

    def _spec(self, name: str, kind: Any, *, recipe: Recipe | None = None, **values: Any) -> TrialSpec:
        shared = {"base": self.base, "base_digest": self.base_digest, "template": self.template}
        return TrialSpec(id=name, kind=kind, recipe=recipe or self.recipe, **shared, **values)


def plans_for(methods: tuple[MethodName, ...], knobs: PlanSpec) -> dict[MethodName, PlanSpec]:
    """The same knobs for every method, less those that a method does not have."""
    off = dict.fromkeys(LOW_RANK_ONLY, False)
    return {
        method: knobs.model_copy(update={"method": method, **({} if method in ("lora", "hybrid") else off)})
        for method in methods
    }


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
