"""legacy: the folder of a model whose own code was written for transformers 4 -> that model, under transformers 5.

Cosmos-Embed1's code takes names from transformers that are gone, asks tensors for numbers while it is built, which weights on
torch's meta device cannot tell, and ties its weights before it says which. So what is missing is lent, the model is built with
memory, and its weights are read from safetensors by name: one that is missing is an error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, PreTrainedModel, modeling_utils, pytorch_utils
from transformers.utils.hub import HF_MODULES_CACHE

from udfs.core.host_files import lock


def load(folder: str, dtype: torch.dtype, device: str) -> Any:
    """The model with its weights, ready to be asked."""
    _lend()
    with reading_code():
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=True)
        model = AutoModel.from_config(config, dtype=dtype, trust_remote_code=True)
    _fill(model, Path(folder))
    return model.to(device, dtype).eval()


@contextmanager
def reading_code() -> Iterator[None]:
    """One process of a host at a time: transformers copies a model's code to a folder of the user's and imports that."""
    os.makedirs(HF_MODULES_CACHE, exist_ok=True)
    with lock(os.path.join(HF_MODULES_CACHE, ".reelmill.lock")):
        yield


def _fill(model: torch.nn.Module, folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    weights = {name: tensor for file in sorted(names) for name, tensor in load_file(folder / file).items()}
    own = dict(model.named_parameters(remove_duplicate=False))
    given = {id(own[name]) for name in weights if name in own}  # under any of the names of a weight that is tied
    missing = [name for name, weight in own.items() if id(weight) not in given and not _may_miss(model, name)]
    if missing:
        raise RuntimeError(f"{folder}: weights and code do not fit: no {', '.join(missing[:5])}")
    model.load_state_dict(weights, strict=False)


def _may_miss(model: torch.nn.Module, name: str) -> bool:
    """Whether the model's own code says that a weight need not be there."""
    classes = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    said = [names for part in classes for names in (part._keys_to_ignore_on_load_missing, part._tied_weights_keys)]
    return any(re.search(pattern, name) for patterns in said for pattern in patterns or ())


def _lend() -> None:
    """Put back what transformers 5 has taken out and a model's old code asks for, where nothing else has."""
    for name in ("apply_chunking_to_forward", "prune_linear_layer", "find_pruneable_heads_and_indices"):
        if not hasattr(modeling_utils, name):
            setattr(modeling_utils, name, getattr(pytorch_utils, name, _never))
    for name, lent in (("get_head_mask", _get_head_mask), ("invert_attention_mask", _invert_attention_mask)):
        if not hasattr(PreTrainedModel, name):
            setattr(PreTrainedModel, name, lent)
    if not hasattr(PreTrainedModel, "all_tied_weights_keys"):
        expand = partialmethod(_tied, PreTrainedModel.get_expanded_tied_weights_keys)
        # None of a model's own are there yet where it calls init_weights first.
        for name, value in (("all_tied_weights_keys", {}), ("get_expanded_tied_weights_keys", expand)):
            setattr(PreTrainedModel, name, value)


def _tied(model: Any, expand: Any, all_submodels: bool = False) -> dict[str, str]:
    """What is tied to what; a list, as it was written before, does not say to what, and names a head that is not asked."""
    listed = isinstance(model._tied_weights_keys, list) and not all_submodels
    pairs: dict[str, str] = {} if listed else expand(model, all_submodels)
    return pairs


def _never(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("heads are pruned to train a model, not to ask it")


def _get_head_mask(model: Any, head_mask: torch.Tensor | None, num_hidden_layers: int, *_: Any, **__: Any) -> list[None]:
    if head_mask is not None:
        _never()
    return [None] * num_hidden_layers


def _invert_attention_mask(model: Any, mask: torch.Tensor) -> torch.Tensor:
    """1 where attention goes, 0 where not, batch x length, to what is added to its logits."""
    shown = mask[:, None] if mask.dim() == 3 else mask[:, None, None]
    return (1.0 - shown.to(model.dtype)) * torch.finfo(model.dtype).min
