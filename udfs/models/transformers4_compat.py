"""Load models whose own Python code was written for transformers 4 under transformers 5.

The code of Cosmos-Embed1 imports names that transformers 5 has removed, reads numbers out of
tensors while the model is built (impossible on torch's meta device), and ties weights before it
declares them. So this module puts the removed names back, builds the model in memory, and reads its
weights from safetensors by name: a missing weight is an error.
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
    """The model with its weights, in evaluation mode."""
    _restore_removed_names()
    with code_lock():
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=True)
        model = AutoModel.from_config(config, dtype=dtype, trust_remote_code=True)
    _load_weights(model, Path(folder))
    return model.to(device, dtype).eval()


@contextmanager
def code_lock() -> Iterator[None]:
    """Let one process of a host at a time import code: transformers first copies it to a folder of the user's."""
    os.makedirs(HF_MODULES_CACHE, exist_ok=True)
    with lock(os.path.join(HF_MODULES_CACHE, ".reelmill.lock")):
        yield


def _load_weights(model: torch.nn.Module, folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    weights = {name: tensor for file in sorted(names) for name, tensor in load_file(folder / file).items()}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    loaded = {id(parameters[name]) for name in weights if name in parameters}  # a tied weight has several names
    missing = [
        name for name, weight in parameters.items() if id(weight) not in loaded and not _is_optional(model, name)
    ]
    if missing:
        raise RuntimeError(f"{folder}: weights and code do not fit: no {', '.join(missing[:5])}")
    model.load_state_dict(weights, strict=False)


def _is_optional(model: torch.nn.Module, name: str) -> bool:
    """Whether the model's own code declares that its weights need not hold this one."""
    classes = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    optional = [names for part in classes for names in (part._keys_to_ignore_on_load_missing, part._tied_weights_keys)]
    return any(re.search(pattern, name) for patterns in optional for pattern in patterns or ())


def _restore_removed_names() -> None:
    """Put back the functions and methods that transformers 5 has removed, where nothing else has done so."""
    for name in ("apply_chunking_to_forward", "prune_linear_layer", "find_pruneable_heads_and_indices"):
        if not hasattr(modeling_utils, name):
            setattr(modeling_utils, name, getattr(pytorch_utils, name, _not_supported))
    for name, method in (("get_head_mask", _get_head_mask), ("invert_attention_mask", _invert_attention_mask)):
        if not hasattr(PreTrainedModel, name):
            setattr(PreTrainedModel, name, method)
    if not hasattr(PreTrainedModel, "all_tied_weights_keys"):
        expand = partialmethod(_tied_weights, PreTrainedModel.get_expanded_tied_weights_keys)
        # A model that calls init_weights first has none of its own yet.
        for name, value in (("all_tied_weights_keys", {}), ("get_expanded_tied_weights_keys", expand)):
            setattr(PreTrainedModel, name, value)


def _tied_weights(model: Any, expand: Any, all_submodels: bool = False) -> dict[str, str]:
    """Names of tied weights -> names of their sources.

    A list, the format of transformers 4, names no sources, and only weights of a head that is not
    used.
    """
    listed = isinstance(model._tied_weights_keys, list) and not all_submodels
    pairs: dict[str, str] = {} if listed else expand(model, all_submodels)
    return pairs


def _not_supported(*_: Any, **__: Any) -> Any:
    raise NotImplementedError("attention heads are pruned in training only")


def _get_head_mask(
    model: Any, head_mask: torch.Tensor | None, num_hidden_layers: int, *_: Any, **__: Any
) -> list[None]:
    if head_mask is not None:
        _not_supported()
    return [None] * num_hidden_layers


def _invert_attention_mask(model: Any, mask: torch.Tensor) -> torch.Tensor:
    """A mask of batch x length, 1 for attention and 0 for none, as the values that are added to the logits."""
    per_head = mask[:, None] if mask.dim() == 3 else mask[:, None, None]
    return (1.0 - per_head.to(model.dtype)) * torch.finfo(model.dtype).min
