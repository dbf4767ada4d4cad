"""How to start vLLM or SGLang with one adapter: the command, its limits, and what to know. Never a secret.

Called by `work/export.py`. Keys are named as environment variables that whoever starts the engine fills; nothing is
started here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from tsugiki.work.adapter_facts import AdapterFacts
from tsugiki.work.compatibility import Report, Rule, next_allowed_rank

ADAPTER = "adapter"  # folder beside the script
MOST_LORAS = 4  # adapters in one batch: room for the version before and the one after


def served_name(facts: AdapterFacts) -> str:
    """A name that no other version has: the adapter's, and the beginning of its weights' digest.

    Engines keep caches by name and path, so a name is never used for two versions.
    """
    digest = facts.files["adapter_model.safetensors"][0].removeprefix("sha256:")
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', facts.name)}-{digest[:8]}"


def start_script(engine: str, facts: AdapterFacts, base: str, rules: Sequence[Rule], context: int | None) -> str:
    """A shell script that starts the engine on this machine's address only, with limits and without secrets."""
    lines = _vllm(facts, base, rules, context) if engine == "vllm" else _sglang(facts, base, context)
    keys = "VLLM_API_KEY" if engine == "vllm" else "SGLANG_API_KEY SGLANG_ADMIN_KEY"
    checks = "".join(f': "${{{key}:?set {key} to a secret of your own}}"\n' for key in keys.split())
    command = " \\\n  ".join(lines)
    return f'#!/bin/sh\nset -eu\ncd "$(dirname "$0")"\n{checks}exec {command}\n'


def notes(engine: str, facts: AdapterFacts, report: Report) -> str:
    """What to know before starting, in Markdown: what was checked, and what the engine does not do by itself."""
    lines = [f"# {facts.name} on {engine}", "", f"Served under the name `{served_name(facts)}`.", "", "## Checked", ""]
    lines += [f"- {one.outcome}: {one.sentence} ({one.rule}, {one.engine})" for one in report.results]
    lines += ["", "## To know", ""]
    lines += [f"- {line}" for line in (*COMMON, *(VLLM if engine == "vllm" else SGLANG))]
    return "\n".join(lines) + "\n"


COMMON = (
    "Compare some answers with and without the adapter after every start: an engine that has not applied it answers "
    "as the base, with status 200.",
    "A new version gets a new name and a new path. Engines cache by both; never replace the files in place.",
    "Only the listed adapter is loaded. "
    "Let nobody reach the engine but a gateway that allows the completion paths alone.",
)
VLLM = (
    "VLLM_API_KEY guards the paths below /v1 only; others stay open, so the address is that of this machine alone.",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING stays off: adapters loaded at run time reach one replica and are gone after a "
    "restart.",
    "vLLM checks only the last part of a layer's name. That all layers are found was checked before this was written.",
    "Not served: DoRA, biases, layers trained in full, bottleneck parts, ranks of their own per layer.",
)
SGLANG = (
    "Strict loading is on: by default SGLang accepts an adapter whose layers it does not find.",
    "The admin key guards loading and unloading, which is open to all without one; /metrics and /health have no key.",
    "Not served: DoRA, added tokens, biases, layers trained in full, bottleneck parts, wrapped language models.",
)


def _vllm(facts: AdapterFacts, base: str, rules: Sequence[Rule], context: int | None) -> list[str]:
    allowed = next(rule.limit["allowed"] for rule in rules if rule.target == "vllm" and rule.check == "rank")
    rank = next_allowed_rank(facts.rank, allowed) or max(allowed)
    length = [f"--max-model-len {context}"] if context else []
    return [
        f"vllm serve {shlex.quote(base)}",
        "--host 127.0.0.1",
        "--enable-lora",
        f"--max-lora-rank {rank}",
        f"--max-loras {MOST_LORAS}",
        f"--max-cpu-loras {MOST_LORAS}",
        f'--lora-modules {served_name(facts)}="$PWD/{ADAPTER}"',
        *length,
    ]


def _sglang(facts: AdapterFacts, base: str, context: int | None) -> list[str]:
    targets = sorted({module.rpartition(".")[2] for module in facts.ranks})
    length = [f"--context-length {context}"] if context else []
    return [
        f"python -m sglang.launch_server --model-path {shlex.quote(base)}",
        "--host 127.0.0.1",
        "--enable-lora",
        f"--max-lora-rank {facts.rank}",
        f"--lora-target-modules {' '.join(targets)}",
        f"--max-loras-per-batch {MOST_LORAS}",
        f"--max-loaded-loras {MOST_LORAS}",
        f'--lora-paths {served_name(facts)}="$PWD/{ADAPTER}"',
        "--lora-strict-loading",
        '--api-key "$SGLANG_API_KEY"',
        '--admin-api-key "$SGLANG_ADMIN_KEY"',
        *length,
    ]
