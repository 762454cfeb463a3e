"""Code written for transformers 4 runs under transformers 5, with its own weights or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers.utils.hub import HF_MODULES_CACHE

from udfs.core.host_files import acquire, open_lock_file
from udfs.models import transformers4_compat

# What the code of real checkpoints does and transformers 5 does not support: names that are gone,
# numbers out of tensors while the model is built, weights tied before post_init.
OLD_CODE = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_utils import apply_chunking_to_forward, find_pruneable_heads_and_indices, prune_linear_layer


class Config(PretrainedConfig):
    model_type = "old"
    tie_word_embeddings: bool = True


class Reader(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.layer = nn.Linear(4, 4)
        self.init_weights()

    def feed(self, x):
        return self.layer(x)

    def forward(self, x, mask):
        assert self.get_head_mask(None, 2) == [None, None]
        return apply_chunking_to_forward(self.feed, 0, 1, x) + self.invert_attention_mask(mask).clamp(min=-1)[:, 0, 0]


class Old(PreTrainedModel):
    config_class = Config
    _tied_weights_keys = ["head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.rates = [x.item() for x in torch.linspace(0, 1, 3)]
        self.reader = Reader(config)
        self.tied = self.reader.layer
        self.head = nn.Linear(4, 4, bias=False)
        self.post_init()
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with such code and its weights."""
    (tmp_path / "modeling_old.py").write_text(OLD_CODE)
    auto = {"AutoConfig": "modeling_old.Config", "AutoModel": "modeling_old.Old"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "old", "auto_map": auto}))
    save_file(
        {"reader.layer.weight": torch.eye(4) * 2, "reader.layer.bias": torch.ones(4)}, tmp_path / "model.safetensors"
    )
    return tmp_path


def test_code_written_for_transformers_4_runs_with_its_own_weights(old: Path) -> None:
    model = transformers4_compat.load(str(old), torch.float32, "cpu")
    answer = model.reader(torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[1, 1, 1, 0]]))
    assert answer.tolist() == [[3, 5, 7, 8]]
    assert model.rates == [0, 0.5, 1]
    assert not model.training


def test_weights_that_do_not_fit_the_code_are_no_model(old: Path) -> None:
    save_file({"reader.layer.weight": torch.eye(4)}, old / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"do not fit: no reader\.layer\.bias"):
        transformers4_compat.load(str(old), torch.float32, "cpu")


def test_weights_may_lie_in_several_files(old: Path) -> None:
    (old / "model.safetensors").unlink()
    weights = {"reader.layer.weight": torch.eye(4) * 3, "reader.layer.bias": torch.zeros(4)}
    files = {name: f"model-{number}-of-2.safetensors" for number, name in enumerate(weights, 1)}
    for name, file in files.items():
        save_file({name: weights[name]}, old / file)
    (old / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    model = transformers4_compat.load(str(old), torch.float32, "cpu")
    assert model.reader.layer.weight.diagonal().tolist() == [3] * 4


def test_weights_come_in_the_precision_that_is_asked_for(old: Path) -> None:
    model = transformers4_compat.load(str(old), torch.bfloat16, "cpu")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert model.reader.layer.weight.diagonal().tolist() == [2] * 4


def test_a_mask_hides_what_it_leaves_out_for_every_head(old: Path) -> None:
    reader = transformers4_compat.load(str(old), torch.float32, "cpu").reader
    lowest = torch.finfo(torch.float32).min
    assert reader.invert_attention_mask(torch.tensor([[1, 0]])).tolist() == [[[[0, lowest]]]]
    assert reader.invert_attention_mask(torch.tensor([[[1, 0], [1, 1]]])).tolist() == [[[[0, lowest], [0, 0]]]]


def test_heads_are_pruned_in_training_only(old: Path) -> None:
    reader = transformers4_compat.load(str(old), torch.float32, "cpu").reader
    with pytest.raises(NotImplementedError, match="in training only"):
        reader.get_head_mask(torch.ones(2), 2)


def test_one_process_of_a_host_copies_code_at_a_time() -> None:
    with transformers4_compat.code_lock():
        handle = open_lock_file(os.path.join(HF_MODULES_CACHE, ".reelmill.lock"))
        assert not acquire(handle, wait=False)
    assert acquire(handle, wait=False)
    os.close(handle)
