"""A provenance of which everything is known, for the tests of the BOM and the model card."""

from __future__ import annotations

from tests.work.adapters import DATA_DIGEST
from tsugiki.work.adapter_facts import AdapterFacts, BaseFacts
from tsugiki.work.provenance import DataUse, Measured, Provenance

LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj")
FACTS = AdapterFacts(
    name="hinshitsu-qa",
    base=BaseFacts(
        name="smollm2-135m", digest="sha256:" + "a" * 64, weights="sha256:" + "b" * 64, tokenizer="sha256:" + "c" * 64,
        template="none", architecture="LlamaForCausalLM", quantization="none", licence="apache-2.0",
    ),
    ranks=dict.fromkeys(LAYERS, 8),
    scales=dict.fromkeys(LAYERS, 2.0),
    full=(),
    modules=(),
    features=frozenset(),
    files={
        "adapter_config.json": ("sha256:" + "e" * 64, 700),
        "adapter_model.safetensors": ("sha256:" + "f" * 64, 1_204_112),
    },
    longest=512,
    manifest={"recipe": {"learning_rate": 1e-4, "max_steps": 60, "precision": "float32", "seed": 0}},
)  # fmt: skip
KNOWN = Provenance(
    facts=FACTS,
    version="hinshitsu-qa@3",
    version_digest="sha256:" + "9" * 64,
    created_at="2026-11-02T05:05:12.123456Z",
    parent="hinshitsu-qa@2",
    data=(DataUse(DATA_DIGEST, 40, "社内データ", "品質問い合わせへの回答"),),
    method="lora",
    measured=(
        Measured("adapter", "exact_match", 0.81, 0.74, 0.87, 160, "bootstrap"),
        Measured("base", "exact_match", 0.12, 0.08, 0.18, 160, "bootstrap"),
    ),
    purpose="品質問い合わせ | への <b>回答</b>",
    owner="山田",
    verdict={"value": "adopt", "reasons": ["better"]},
    change={"retention": {"loss_before": 3.1, "loss_after": 3.12}},
)
