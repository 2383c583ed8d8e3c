"""A tiny checkpoint in InternVL's own layout, and what its own code would compute, written anew here."""

import json
import struct
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

SIDE, PATCH, WIDTH, HIDDEN, HEADS, KEYS, LAYERS = 56, 14, 16, 32, 4, 2, 2
HEAD = HIDDEN // HEADS
SPACE = "\u2581"
WORDS = ["the", f"{SPACE}the", "re", f"{SPACE}re", f"{SPACE}red", "th", "in", "circle", "cir", "cle", "cl", "ci", "at"]
# A piece after the pieces that it is put together from; the earlier, the better.
MERGED = [*WORDS, "he", f"{SPACE}t", f"{SPACE}r", "le", "us", "er", "user", "ed"]
MERGED.sort(key=lambda word: (len(word), word))
SYMBOLS = [SPACE, *"abcdefghijklmnopqrstuvwxyzIW?.,|_<>/"]
ADDED = ["<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>"]
UNUSED = ["[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]"]
RENAMED = ["<|im_end|>", "<|im_start|>"]
# Piece, score, kind: unknown, control, byte, normal, user-defined.
PIECES = [
    ("<unk>", 0.0, 2),
    ("<s>", 0.0, 3),
    ("</s>", 0.0, 3),
    *((f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)),
    *((word, -float(place), 1) for place, word in enumerate([*MERGED, *SYMBOLS])),
    *((word, 0.0, 4) for word in UNUSED),
]
SYSTEM = "Be kind. \u4f60\u597d"
CONVERSATIONS = f"""
import dataclasses
raise SystemExit('ran')
register_conv_template(Conversation(name='other', system_message=made(), roles=('a', 'b'), sep='\\n'))
register_conv_template(
    Conversation(
        name='tiny-chat',
        system_template='<|im_start|>system\\n{{system_message}}',
        system_message='{SYSTEM}',
        roles=('<|im_start|>user\\n', '<|im_start|>assistant\\n'),
        sep_style=SeparatorStyle.MPT,
        sep='<|im_end|>',
        stop_token_ids=[2],
    )
)
"""


def varint(value):
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def sentencepiece(pieces=PIECES, **normalizer):
    """The bytes of a BPE model with bytes for unknown characters; by default spaces are kept as they are."""
    body = b"".join(
        field(1, field(1, text.encode()) + field(2, score) + (b"" if kind == 1 else field(3, kind)))
        for text, score, kind in pieces
    )
    trainer = field(3, 2) + field(35, 1)
    rules = {3: 0, 4: 0, **{int(key[1:]): value for key, value in normalizer.items()}}
    return body + field(2, trainer) + field(3, b"".join(field(*item) for item in rules.items()))


@pytest.fixture
def write_tiny(tmp_path):
    """``write_tiny(config changes)``: the folder of a checkpoint and its weights."""

    def write(vision=(), text=(), **changed):
        folder = tmp_path / "InternVL2-tiny"
        folder.mkdir()
        names = [*(text for text, _, _ in PIECES), *ADDED]
        vision = {
            **{"hidden_size": WIDTH, "intermediate_size": 24, "num_hidden_layers": LAYERS, "num_attention_heads": 2},
            **{"image_size": SIDE, "patch_size": PATCH, "qkv_bias": True, "qk_normalization": False},
            **{"norm_type": "layer_norm", "layer_norm_eps": 1e-6, "hidden_act": "gelu", "drop_path_rate": 0.1},
            **dict(vision),
        }
        text = {
            **{"architectures": ["InternLM2ForCausalLM"], "vocab_size": len(names), "hidden_size": HIDDEN},
            **{"bias": False, "intermediate_size": 40, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS},
            **{"num_key_value_heads": KEYS, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "hidden_act": "silu"},
            **{"rope_theta": 1000.0, "rope_scaling": {"type": "dynamic", "factor": 2.0}, "eos_token_id": 2},
            **{"auto_map": {"AutoConfig": "c.C"}, "top_k": 50, "bos_token_id": 1},
            **dict(text),
        }
        config = {
            **{"model_type": "internvl_chat", "auto_map": {"AutoConfig": "configuration_internvl_chat.C"}},
            **{"architectures": ["InternVLChatModel"], "template": "tiny-chat", "ps_version": "v2", "select_layer": -1},
            **{"downsample_ratio": 0.5, "force_image_size": SIDE, "dynamic_image_size": True, "use_thumbnail": True},
            **{"min_dynamic_patch": 1, "max_dynamic_patch": 6, "torch_dtype": "float32"},
            **changed,
            **{"vision_config": vision, "llm_config": text},
        }
        weights = draw_weights(vision, text)
        (folder / "config.json").write_text(json.dumps(config))
        halves = sorted(weights)
        for number in (0, 1):
            held = {name: weights[name] for name in halves[number::2]}
            save_file(held, folder / f"model-0000{number + 1}-of-00002.safetensors")
        (folder / "tokenizer.model").write_bytes(sentencepiece())
        first = len(PIECES)
        stored = {first - 2 + place: name for place, name in enumerate([*RENAMED, *ADDED])}
        stored |= {0: "<unk>", 1: "<s>", 2: "</s>"}
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        settings = {
            "tokenizer_class": "InternLM2Tokenizer",
            "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
            "added_tokens_decoder": {str(place): {"content": name, **flags} for place, name in stored.items()},
            **{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"},
            "model_max_length": 512,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        (folder / "conversation.py").write_text(CONVERSATIONS)
        for name in ("configuration_internvl_chat.py", "tokenization_internlm2.py"):
            (folder / name).write_text("raise SystemExit('ran')")
        (folder / "README.md").write_text("---\nlicense: mit\npipeline_tag: x\n---\n# A model\n")
        (folder / "LICENSE").write_text("Do as you like.\n")
        return folder, weights

    return write


def draw_weights(vision, text):
    draw = torch.Generator().manual_seed(0)

    def some(*shape):
        return torch.randn(*shape, generator=draw) * 0.3

    inner, wide = vision["intermediate_size"], text["intermediate_size"]
    found = {
        "vision_model.embeddings.class_embedding": some(1, 1, WIDTH),
        "vision_model.embeddings.position_embedding": some(1, (SIDE // PATCH) ** 2 + 1, WIDTH),
        "vision_model.embeddings.patch_embedding.weight": some(WIDTH, 3, PATCH, PATCH),
        "vision_model.embeddings.patch_embedding.bias": some(WIDTH),
        **{"mlp1.0.weight": 1 + some(4 * WIDTH), "mlp1.0.bias": some(4 * WIDTH)},
        **{"mlp1.1.weight": some(HIDDEN, 4 * WIDTH), "mlp1.1.bias": some(HIDDEN)},
        **{"mlp1.3.weight": some(HIDDEN, HIDDEN), "mlp1.3.bias": some(HIDDEN)},
        "language_model.model.tok_embeddings.weight": some(text["vocab_size"], HIDDEN),
        "language_model.model.norm.weight": 1 + some(HIDDEN),
        "language_model.output.weight": some(text["vocab_size"], HIDDEN),
    }
    for layer in range(LAYERS):
        own = f"vision_model.encoder.layers.{layer}."
        shapes = {"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}
        shapes |= {"mlp.fc1": (inner, WIDTH), "mlp.fc2": (WIDTH, inner)}
        for name, shape in shapes.items():
            found |= {f"{own}{name}.weight": some(*shape), f"{own}{name}.bias": some(shape[0])}
        for name in ("norm1", "norm2"):
            found[f"{own}{name}.weight"] = 1 + some(WIDTH)
            if vision["norm_type"] == "layer_norm":
                found[f"{own}{name}.bias"] = some(WIDTH)
        found |= {f"{own}ls1": 1 + some(WIDTH), f"{own}ls2": 1 + some(WIDTH)}
        if vision["qk_normalization"]:
            found |= {f"{own}attn.{name}_norm.weight": 1 + some(WIDTH) for name in "qk"}
        own = f"language_model.model.layers.{layer}."
        shapes = {"attention.wqkv": ((HEADS + 2 * KEYS) * HEAD, HIDDEN), "attention.wo": (HIDDEN, HIDDEN)}
        shapes |= {f"feed_forward.{name}": (wide, HIDDEN) for name in ("w1", "w3")}
        shapes["feed_forward.w2"] = (HIDDEN, wide)
        found |= {f"{own}{name}.weight": some(*shape) for name, shape in shapes.items()}
        found |= {f"{own}{name}.weight": 1 + some(HIDDEN) for name in ("attention_norm", "ffn_norm")}
        if text["bias"]:
            found |= {f"{own}{name}.bias": some(shapes[name][0]) for name in ("attention.wqkv", "attention.wo")}
    return found


class Reference:
    """InternViT, pixel shuffle, projector and InternLM2 over a dictionary of weights."""

    def __init__(self, weights, qk_norm=False, norm_type="layer_norm"):
        self.weights, self.qk_norm, self.norm_type = weights, qk_norm, norm_type

    def linear(self, name, value):
        return value @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0.0)

    def rms(self, name, value, eps):
        return self.weights[f"{name}.weight"] * value * (value.pow(2).mean(-1, keepdim=True) + eps).rsqrt()

    def layer_norm(self, name, value, eps):
        value = value - value.mean(-1, keepdim=True)
        value = value * (value.pow(2).mean(-1, keepdim=True) + eps).rsqrt()
        return value * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def vision_norm(self, name, value):
        return getattr(self, {"layer_norm": "layer_norm", "rms_norm": "rms"}[self.norm_type])(name, value, 1e-6)

    def tile(self, pixels):
        """Tokens of one tile [3, side, side]."""
        count = SIDE // PATCH
        cut = pixels.reshape(3, count, PATCH, count, PATCH).permute(1, 3, 0, 2, 4).reshape(count**2, -1)
        own = "vision_model.embeddings."
        kernel = self.weights[f"{own}patch_embedding.weight"].reshape(WIDTH, -1)
        state = cut @ kernel.T + self.weights[f"{own}patch_embedding.bias"]
        state = torch.cat([self.weights[f"{own}class_embedding"][0], state])
        state = state + self.weights[f"{own}position_embedding"][0]
        for layer in range(LAYERS):
            own = f"vision_model.encoder.layers.{layer}."
            state = state + self.look(own, self.vision_norm(f"{own}norm1", state)) * self.weights[f"{own}ls1"]
            inner = self.linear(f"{own}mlp.fc1", self.vision_norm(f"{own}norm2", state))
            inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
            state = state + self.linear(f"{own}mlp.fc2", inner) * self.weights[f"{own}ls2"]
        grid = state[1:].reshape(count, count, WIDTH)
        # Each token holds a block of 2 x 2 patches, row by row.
        blocks = grid.reshape(count // 2, 2, count // 2, 2, WIDTH).permute(0, 2, 1, 3, 4).reshape(-1, 4 * WIDTH)
        inner = self.linear("mlp1.1", self.layer_norm("mlp1.0", blocks, 1e-5))
        return self.linear("mlp1.3", inner * 0.5 * (1 + torch.erf(inner / 2**0.5)))

    def look(self, own, state):
        query, key, value = self.linear(f"{own}attn.qkv", state).chunk(3, dim=-1)
        if self.qk_norm:
            query, key = self.rms(f"{own}attn.q_norm", query, 1e-6), self.rms(f"{own}attn.k_norm", key, 1e-6)
        heads = [own.reshape(len(state), 2, -1).transpose(0, 1) for own in (query, key, value)]
        weights = (heads[0] @ heads[1].transpose(1, 2) / (WIDTH // 2) ** 0.5).softmax(-1)
        return self.linear(f"{own}attn.proj", (weights @ heads[2]).transpose(0, 1).reshape(len(state), -1))

    def hidden(self, ids, tiles, image_token):
        """The last hidden states of a sequence whose image tokens are those of tiles."""
        state = self.weights["language_model.model.tok_embeddings.weight"][ids].clone()
        if len(tiles):
            state[ids == image_token] = torch.cat([self.tile(tile) for tile in tiles])
        for layer in range(LAYERS):
            own = f"language_model.model.layers.{layer}."
            state = state + self.attend(own, self.rms(f"{own}attention_norm", state, 1e-5))
            normed = self.rms(f"{own}ffn_norm", state, 1e-5)
            gate = self.linear(f"{own}feed_forward.w1", normed)
            inner = gate * torch.sigmoid(gate) * self.linear(f"{own}feed_forward.w3", normed)
            state = state + self.linear(f"{own}feed_forward.w2", inner)
        return self.rms("language_model.model.norm", state, 1e-5)

    def attend(self, own, state):
        places = torch.arange(len(state))
        rows = self.linear(f"{own}attention.wqkv", state)
        # For each head of keys: two queries, its key, its value.
        rows = rows.reshape(len(state), KEYS, 4, HEAD)
        angles = places[:, None] * 1000.0 ** (-torch.arange(0, HEAD, 2) / HEAD)

        def turn(value):
            first, second = value.chunk(2, dim=-1)
            cos, sin = angles.cos(), angles.sin()
            return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

        mask = places[None] > places[:, None]
        heads = []
        for key in range(KEYS):
            for query in range(2):
                scores = turn(rows[:, key, query]) @ turn(rows[:, key, 2]).T / HEAD**0.5
                heads.append(scores.masked_fill(mask, -torch.inf).softmax(-1) @ rows[:, key, 3])
        return self.linear(f"{own}attention.wo", torch.cat(heads, dim=-1))


def segment(text, pieces=PIECES):
    """The ids of a text as SentencePiece's BPE finds them: always the best pair, the leftmost of equals."""
    scores = {word: score for word, score, kind in pieces if kind == 1}
    numbers = {word: place for place, (word, _, _) in enumerate(pieces)}
    symbols = list(text.replace(" ", SPACE))

    def pairs():
        joined = [first + second for first, second in pairwise(symbols)]
        return [(scores[piece], -place) for place, piece in enumerate(joined) if piece in scores]

    while best := pairs():
        place = -max(best)[1]
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
    found = []
    for symbol in symbols:
        found += [numbers[symbol]] if symbol in scores else [numbers[f"<0x{byte:02X}>"] for byte in symbol.encode()]
    return found


def tiles_of(image, most=6):
    """An image as InternVL's own code cuts it: closest shape, larger of equals if it is filled, then the whole."""
    width, height = image.size
    sides = range(1, most + 1)
    shapes = sorted(((a, b) for a in sides for b in sides if a * b <= most), key=lambda shape: shape[0] * shape[1])
    best, nearest = (1, 1), float("inf")
    for shape in shapes:
        far = abs(width / height - shape[0] / shape[1])
        if far < nearest or (far == nearest and width * height > 0.5 * SIDE**2 * shape[0] * shape[1]):
            best, nearest = shape, far
    resized = image.resize((SIDE * best[0], SIDE * best[1]), 3)
    parts = [
        resized.crop((SIDE * column, SIDE * row, SIDE * (column + 1), SIDE * (row + 1)))
        for row in range(best[1])
        for column in range(best[0])
    ]
    if len(parts) > 1:
        parts.append(image.resize((SIDE, SIDE), 3))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    arrays = [(np.asarray(part) / 255 - mean) / deviation for part in parts]
    return torch.tensor(np.stack(arrays), dtype=torch.float32).permute(0, 3, 1, 2)
