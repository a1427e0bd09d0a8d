"""Types of models that are refused, each with the reason; docs/architectures.md lists them. Torch-free."""

from __future__ import annotations

_STATE_SPACE = "a state-space model has no attention heads, and its layers are not attention and MLP"
_AUDIO = "there is no task for audio yet, so nothing could be measured"
_EXPERTS = "its mixture of experts is not in the table, and neurons inside experts are not scored"
_UNEVEN = "its layers differ in kind (convolution, linear or full attention), and only attention with an MLP is known"
_ENCODER_DECODER = "of encoder-decoder models only T5, mT5 and BART are in the table"
_MULTIMODAL = "it is multimodal, and only the language side of LLaVA, Gemma 3 and Qwen2-VL is known"

_REASONS = {
    _STATE_SPACE: ("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm", "bamba", "jamba", "zamba", "zamba2"),
    _AUDIO: ("wav2vec2", "hubert", "whisper", "wavlm", "data2vec-audio", "audio-spectrogram-transformer"),
    _EXPERTS: (
        *("qwen2_moe", "qwen3_next", "deepseek_v2", "deepseek_v3", "llama4_text", "llama4"),
        *("gpt_oss", "granitemoe", "granitemoeshared", "olmoe", "dbrx", "phimoe"),
    ),
    _UNEVEN: ("lfm2", "lfm2_moe", "granitemoehybrid"),
    _ENCODER_DECODER: ("marian", "pegasus", "mbart", "m2m_100", "led", "longt5", "blenderbot"),
    _MULTIMODAL: ("paligemma", "idefics3", "mllama", "qwen3_vl", "internvl", "mistral3"),
    "all its layers share the weights of one, so a unit does not belong to one layer": ("albert",),
    "it adds per-layer embeddings to the residual stream, which are neither attention nor MLP": ("gemma3n",),
    "its norms stand behind attention and MLP in stages of different width, which is not in the table": ("swinv2",),
    "transformers names its modules otherwise than its checkpoints name their tensors": ("beit",),
}
REFUSED = {model_type: reason for reason, model_types in _REASONS.items() for model_type in model_types}
