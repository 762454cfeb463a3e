"""Load an embedding model by the module that knows its kind; imports torch only then."""

from __future__ import annotations

from functools import partial

from udfs.core import user_code
from udfs.models import checkpoints, embedding_config, hub, registry, user_models
from udfs.models.embedding_config import LoadSettings, Model, Wants


def load(folder: str, settings: LoadSettings, device: str) -> Model:
    """The model in a folder, on a device.

    The model's own code runs if it has any: `hub.allowed` decides before.
    """
    if user_code.is_function(folder):
        return _of_user(folder, settings, device)
    kind = embedding_config.configuration(folder)["model_type"]
    if kind == "cosmos-embed1":
        from udfs.models import cosmos_embed1

        return cosmos_embed1.load(folder, settings, device)
    if kind == "internvideo2":
        from udfs.models import internvideo2

        return internvideo2.load(folder, settings, device)
    from udfs.models import hf_towers

    return hf_towers.load(folder, settings, device)


def _of_user(function: str, settings: LoadSettings, device: str) -> Model:
    """A model with `encode(clips)` and perhaps `encode_text(texts)`, of lists, or the first of these alone."""
    loaded = user_models.load(function, device)
    num_frames, fit = user_models.frames(function, settings.num_frames)
    text = getattr(loaded, "encode_text", None)
    return Model(
        fit,
        num_frames,
        None,
        partial(user_models.unit_vectors, getattr(loaded, "encode", loaded)),
        partial(user_models.unit_vectors, text) if text else None,
    )


def check(name: str, num_frames: int | None, models: registry.Params) -> Wants | None:
    """Find on the driver, before Spark starts, what would stop `load` on a worker.

    Returns what the model wants to see; None if workers are still to fetch it.

    Raises:
        MissingModelError: the model is missing, may not run, or takes another number of frames.
    """
    checkpoints.check(name, models)
    if user_code.is_function(name):  # its constants are known where its module is imported
        return None
    if not (registry.is_local(name) or checkpoints.is_fetched(registry.checkpoint(name), models)):
        return None
    return embedding_config.wants(hub.folder(name, models), num_frames)
