"""A GGUF adapter in llama.cpp against our own engine, token by token: `python -m benchmarks.gguf_export`.

Trains a LoRA on a real task on a packaged GGUF base, exports it, and lets llama.cpp (package xllamacpp) and our engine
answer rows that were not trained on, greedily. Twice: on the dequantised base, whose float32 values are written to a
GGUF of their own, so that both sides compute with the same weights; and on the packaged file as it is, where llama.cpp
also rounds what goes into each product. The same for the base without the adapter, which says how far two engines
agree at all. Writes benchmarks/results/gguf_export.json, and keeps what it holds of bases that were not run.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from tsugiki.files import write_json
from tsugiki.fingerprint import digest_file, machine, package_versions

RESULT = Path(__file__).resolve().parent / "results" / "gguf_export.json"
CONTEXT = 2048  # tokens


class LlamaCpp:
    """llama.cpp in this process, on one thread, greedy, without its prompt cache."""

    def __init__(self, base: Path, adapter: Path | None) -> None:
        import xllamacpp

        settings = xllamacpp.CommonParams()
        settings.model.path = str(base)
        settings.n_ctx, settings.n_parallel, settings.n_gpu_layers, settings.warmup = CONTEXT, 1, 0, False
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
        if adapter is not None:
            settings.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
        self.server = xllamacpp.Server(settings)

    def answer(self, prompt: Sequence[int], limit: int, ends: frozenset[int]) -> list[int]:
        """Token ids of the greedy answer, without the token that ended it, which is one of `ends`."""
        request = {
            "prompt": list(prompt), "n_predict": limit, "temperature": 0.0, "samplers": ["top_k"], "top_k": 1,
            "cache_prompt": False, "logprobs": 1,
        }  # fmt: skip
        found = self.server.handle_completions(request)
        tokens = [one["id"] for one in found["choices"][0]["logprobs"]["content"]]
        return list(takewhile(lambda token: token not in ends, tokens))


def dequantised(source: Path, out: Path) -> Path:
    """The same GGUF with every weight as the float32 value that it stands for."""
    from gguf import GGUFReader, GGUFWriter
    from gguf.constants import GGUFValueType
    from gguf.quants import dequantize

    reader = GGUFReader(source)
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind, *inner = field.types
        writer.add_key_value(name, field.contents(), kind, sub_type=inner[-1] if kind == GGUFValueType.ARRAY else None)
    writer.add_file_type(0)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def joined(files: Sequence[Path], folder: Path) -> Path:
    """The GGUF file of a base, put together where its package has it in parts."""
    if len(files) == 1:
        return files[0]
    out = folder / "base.gguf"
    with out.open("wb") as stream:
        for file in files:
            stream.write(file.read_bytes())
    return out


def compare(alias: str, task: str, rows: int, steps: int, prompts: int, folder: Path) -> dict[str, Any]:
    from benchmarks.tasks import write_task
    from tsugiki.config import PlanSpec, Recipe
    from tsugiki.engine.adapter_files import load_adapter
    from tsugiki.engine.base import BaseSpec, load_base
    from tsugiki.engine.batches import prompt_ids
    from tsugiki.engine.generate import end_ids, generate_ids
    from tsugiki.engine.packaged import packaged_source
    from tsugiki.work.adapt import Adaptation, train_adapter
    from tsugiki.work.export_gguf import write_gguf
    from tsugiki.work.prepare import DataSpec

    everything, data = folder / "all.csv", folder / "train.csv"
    write_task(task, everything, rows + prompts)
    with everything.open(encoding="utf-8", newline="") as file:
        head, *lines = csv.reader(file)
    with data.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *lines[:rows]])
    test = [dict(zip(head, line, strict=True)) for line in lines[rows:]]
    recipe = Recipe(max_steps=steps, evaluations=2, precision="float32")
    wanted = Adaptation(DataSpec(data), alias, PlanSpec(rank=8), recipe, "plain", 0.1)
    trained = train_adapter(wanted, folder / "adapter", lambda _: None)
    asked = [row["prompt"] for row in test]
    base = load_base(BaseSpec(alias, precision="float32", device="cpu"))
    ids = [prompt_ids(base.tokenizer, prompt) for prompt in asked]
    limit, ends = 12, end_ids(base.model, base.tokenizer)
    bare = generate_ids(base.model, base.tokenizer, asked, max_new_tokens=limit)
    trainable = load_adapter(base, folder / "adapter")
    ours = generate_ids(base.model, base.tokenizer, asked, max_new_tokens=limit)
    right = sum(
        base.tokenizer.decode(one).strip() == row["completion"].strip() for one, row in zip(ours, test, strict=True)
    )
    source = joined(packaged_source(alias).files, folder)
    facts = write_gguf(trainable, folder / "adapter.gguf", name="benchmark", base_file=source)
    files = {"dequantised to float32": dequantised(source, folder / "base-f32.gguf"), "as packaged": source}
    agreement = {}
    for held, file in files.items():
        for what, adapter, expected in (("base", None, bare), ("adapter", folder / "adapter.gguf", ours)):
            engine = LlamaCpp(file, adapter)
            theirs = [engine.answer(one, limit, ends) for one in ids]
            same = sum(own == other for own, other in zip(expected, theirs, strict=True))
            agreement[f"{what}, {held}"] = {"same": same, "of": len(ids)}
            print(f"{alias} {what}, {held}: {same} of {len(ids)}", flush=True)
    return {
        "base": alias, "task": task, "train_rows": rows, "steps": steps, "max_new_tokens": limit,
        "right": right, "changed_by_adapter": sum(a != b for a, b in zip(bare, ours, strict=True)),
        "best_dev_loss": trained["training"]["best_dev_loss"],
        "export": facts, "adapter_digest": digest_file(folder / "adapter.gguf"), "agreement": agreement,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="GGUF adapters in llama.cpp against our own engine.")
    parser.add_argument("--base", action="append", help="packaged alias; both without it")
    parser.add_argument("--task", default="E5")
    parser.add_argument("--rows", type=int, default=240)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    aliases = arguments.base or ["smollm2-135m", "gemma3-270m"]
    before = json.loads(arguments.out.read_text(encoding="utf-8"))["runs"] if arguments.out.is_file() else []
    runs = [run for run in before if run["base"] not in aliases]
    for alias in aliases:
        with tempfile.TemporaryDirectory() as folder:
            runs.append(
                compare(alias, arguments.task, arguments.rows, arguments.steps, arguments.prompts, Path(folder))
            )
    packages = package_versions(("torch", "transformers", "gguf", "xllamacpp", "ruff"))
    write_json(arguments.out, {"runs": runs, "packages": packages, "machine": machine()})


if __name__ == "__main__":
    main()
