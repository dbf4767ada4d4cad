"""Write the tables and the chart of docs/performance.md from benchmarks/results: `make performance`.

Only what stands between the marks is written; the text around it is a person's. A test compares document and results.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from tools.readme import fill

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"
PEERS = {
    "speed-bfloat16": "TRL + PEFT",  # of a processor that multiplies it natively
    "speed": "TRL + PEFT",
    "speed-litgpt": "LitGPT",
    "speed-llamafactory": "LLaMA-Factory",
}

Result = dict[str, Any]


def main() -> None:
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    if list(_races()):
        CHART.write_text(chart(), encoding="utf-8")


def written(text: str) -> str:
    return fill(text, {name: part() for name, part in PARTS.items()})


def speed() -> str:
    if not list(_races()):
        return "Not measured yet."
    head = ("setting", "peer", "tokens/s, ours / theirs", "peak memory, ours / theirs",
            "share of the matrix peak, ours", "theirs", "held-out loss, ours", "theirs", "pairs")  # fmt: skip
    rows = [
        (
            setting,
            peer,
            f"{row['tokens_per_second_ratio']:.2f}",
            f"{row['peak_memory_ratio']:.2f}",
            *(_share(row[f"{side}_share_of_peak"]) for side in ("our", "peer")),
            _losses(row, "ours"),
            _losses(row, "peer"),
            str(len(row["runs"])),
        )
        for peer, setting, row in _races()
    ]
    return "![Ratios](performance.svg)\n\n" + _table(head, rows) + "\n\n" + _machines(*PEERS)


def candidates() -> str:
    found = _read("candidates")
    if found is None:
        return "Not measured yet."
    kept = _read("kept_states") or {"ratios": {}}
    rows = [(name, f"{ratio:.2f}") for name, ratio in (found["ratios"] | kept["ratios"]).items()]
    gap = max(run[f"{blocks}/widest_gap"] for run in found["runs"] for blocks in ("all", "last:10"))
    same = sum(run["all/same_winner"] for run in found["runs"])
    lost = max(run["all/winner_gap"] for run in found["runs"])
    said = (
        f"Widest difference of a candidate's best dev loss between bank and solo run: {gap:.1e}. With all blocks "
        f"trained successive halving found the winner of the solo runs in {same:.0f} of {len(found['runs'])} "
        f"repetitions; what it found instead was at most {lost:.3f} nats worse."
    )
    return "\n\n".join((_table(("what", "seconds, ratio"), rows), said, _machines("candidates", "kept_states")))


def estimator() -> str:
    found = _read("estimator")
    if found is None:
        return "Not measured yet."
    said = (
        f"{found['runs']} of {found['planned']} runs; estimate / measured peak: median {found['median_ratio']:.2f}, "
        f"from {found['lowest']:.2f} to {found['highest']:.2f}; within 15 %: {found['within_15_percent']:.0%}; "
        f"of the runs with an unpacked base {_within([one for one in found['each'] if one['quantize'] == 'none'])}."
    )
    if found["lora_over_full"] is None:
        return "\n\n".join((said, _machines("estimator")))
    head = ("LoRA, frozen layers held in", "peak memory / that of full fine-tuning in float32")
    names = {"none": "float32", "int8": "int8", "nf4": "nf4"}
    rows = [(names[bits], f"{ratio:.2f}") for bits, ratio in found["lora_over_full"].items()]
    return "\n\n".join((said, _table(head, rows), _machines("estimator")))


def _within(runs: list[Result]) -> str:
    near = sum(abs(one["ratio"] - 1) <= 0.15 for one in runs)
    return f"{near} of {len(runs)}"


def registry() -> str:
    ledger, listed, crashes = (_read(name) for name in ("ledger", "registry_list", "registry_crashes"))
    rows: list[tuple[str, str, str]] = []
    if ledger is not None:
        writers, whole = ledger["writers"], ledger["verify"]["whole"]
        slowest = max(one["median"] for one in ledger["questions_ms"].values())
        rows += [
            (
                f"{writers['writers']} writers, {writers['events']:,} events",
                f"{writers['lost']} lost, {writers['events_per_second']} a second",
                "none, 300",
            ),
            (f"questions to {whole['events']:,} events", f"slowest median {slowest:.0f} ms", "50 ms"),
            (
                "verifying all of them",
                f"{whole['events_per_second']:,} a second in {whole['peak_mb']:.0f} MB",
                "50,000, flat",
            ),
        ]
    if listed is not None:
        floor = listed["libraries"]["best_seconds"]
        rows.append(
            (
                f"`tsugiki registry list`, {listed['versions']:,} versions",
                f"{listed['list']['best_seconds']:.2f} s, of which the libraries alone {floor:.2f} s",
                f"{listed['limit_seconds']} s",
            )
        )
    if crashes is not None:
        struck = f"{crashes['struck']:,} strikes at {len(crashes['verbs'])} verbs"
        rows.append(("kills, full disks, failing writes", f"{struck}, {crashes['broken']} broken", "1,000, none"))
    if not rows:
        return "Not measured yet."
    return "\n\n".join((_table(("what", "measured", "target"), rows), _machines("ledger", "registry_list")))


def same_order() -> str:
    found = _read("same_order")
    if found is None:
        return "Not measured yet."
    rows = [(str(one["seed"]), f"{one['ours']:.3f}", f"{one['plain']:.3f}") for one in found["each"]]
    said = f"Widest gap: {found['widest_gap']:.3f} nats ({found['setting']})."
    return "\n\n".join((_table(("seed", "ours", "plain peft"), rows), said, _machines("same_order")))


def regret() -> str:
    found = _read("regret")
    if found is None:
        return "Not measured yet."
    settings, grid = found["settings"], 0
    head = ("task", "chosen", "exact match", "best cell on the test set", "points behind (95 % interval)",
            "best cell by dev loss", "points behind (95 % interval)", "share of the grid's rows")  # fmt: skip
    rows = []
    for when, part in (("", "tasks"), (" after the others", "after_others")):
        for task, one in sorted(found[part].items()):
            choice, best, by_dev, grid = one["chosen"], one["best"], one["by_dev"], len(one["cells"])
            rows.append(
                (
                    f"{task}{when}", _settings(choice), f"{choice['score']:.1%}", _settings(best), _points(best),
                    _settings(by_dev), _points(by_dev), f"{one['share']:.0%}",
                )
            )  # fmt: skip
        if together := found["together"][part]:
            share = mean(one["share"] for one in found[part].values())
            points = (_points(together["best"]), "", _points(together["by_dev"]))
            rows.append((f"all{when}", "", "", "", *points, f"{share:.0%}"))
    said = f"{settings['rows']} rows, {settings['steps']} steps of {settings['batch_size']} rows, {grid} cells."
    return "\n\n".join((_table(head, rows), said, _machines("regret")))


def _settings(cell: Result) -> str:
    rank = f" of rank {cell['rank']}" if cell["method"] == "lora" else ""
    return f"{cell['method']}{rank} at {cell['learning_rate']:.1e}"


def _points(cell: Result) -> str:
    behind, interval = 100 * cell["ahead"], cell["interval"]
    return f"{behind:.1f}" if interval is None else f"{behind:.1f} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def poc_cost() -> str:
    results = ("poc_cost", "poc_cost-bfloat16")
    return "\n\n".join((*map(_poc_cost, results), _machines(*results)))


def _poc_cost(result: str) -> str:
    found = _read(result)
    if found is None:
        return f"{result}: not measured yet."
    poc, settings = found["poc"], found["settings"]
    names = {"planned": "planned within the minutes of five trainings", "uncut": "whole design, nothing cut",
             "used": "used in the end"}  # fmt: skip
    rows = [
        (f"{names[what]}; TRL {how}", f"{ratio:.2f}")
        for how, ratios in found["poc_over_trainings"].items()
        for what, ratio in ratios.items()
    ]
    cuts = ", ".join(f"{cut['what'].replace('_', ' ')} from {cut['before']} to {cut['after']}" for cut in poc["cuts"])
    said = (
        f"{settings['rows']} rows of {settings['task']}, {settings['steps']} steps, {settings['precision']}. "
        f"Cut: {cuts or 'nothing'}."
    )
    head = ("study", f"minutes / those of {settings['trainings']} full fine-tunings with TRL")
    return "\n\n".join((_table(head, rows), said))


PARTS: dict[str, Callable[[], str]] = {
    "speed": speed,
    "candidates": candidates,
    "estimator": estimator,
    "registry": registry,
    "same-order": same_order,
    "regret": regret,
    "poc-cost": poc_cost,
}


def chart() -> str:
    """Ratios of speed and memory against every peer, as SVG."""
    import altair as alt
    import vl_convert

    rows = [
        {"against": f"{peer}, {setting}", "measure": measure, "ratio": row[key]}
        for peer, setting, row in _races()
        for measure, key in (("tokens per second", "tokens_per_second_ratio"), ("peak memory", "peak_memory_ratio"))
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("against:N", title=None, sort=None, axis=alt.Axis(labelLimit=420)),
        x=alt.X("ratio:Q", title="ours / theirs", scale=alt.Scale(domainMin=0)),
    )
    bars = base.mark_bar(height=16).encode(color=alt.Color("measure:N", legend=None))
    numbers = base.mark_text(align="left", dx=4).encode(text=alt.Text("ratio:Q", format=".2f"))
    one = alt.Chart().mark_rule(strokeDash=[4, 3], color="#777").encode(x=alt.datum(1))
    layered = (bars + numbers + one).properties(width=260, height=alt.Step(26)).facet(
        column=alt.Column("measure:N", title=None, sort=None)
    ).resolve_scale(x="independent")  # fmt: skip
    return str(vl_convert.vegalite_to_svg(layered.to_dict()))


def _races() -> Iterator[tuple[str, str, Result]]:
    for name, peer in PEERS.items():
        for setting, row in (_read(name) or {"rows": {}})["rows"].items():
            yield peer, setting, row


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _losses(row: Result, side: str) -> str:
    losses = [run[side]["held_out_loss"] for run in row["runs"]]
    return ", ".join(f"{loss:.2f}" for loss in losses)


def _machines(*names: str) -> str:
    """Which machine and which versions the numbers above are of."""
    found = {}
    for name in names:
        if (result := _read(name)) is not None:
            machine, packages = result["machine"], result.get("packages", {})
            versions = "".join(f", {package} {version}" for package, version in packages.items())
            found[name] = f"`{name}.json`: {machine['cpu']} × {machine['cores']}{versions}."
    return "\n".join(f"- {line}" for line in found.values())


def _read(name: str) -> Result | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
