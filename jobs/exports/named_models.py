"""Refuse an export for NeMo whose settings name a model that made no row, which would be left out in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jobs.config.errors import UsageError
from jobs.lake.run import Run
from jobs.lake.stored_models import stored_models
from udfs.core.words import right_names, spelled
from udfs.exports import nemo
from udfs.models.registry import KNOWN, known_name
from udfs.storage.settings import Params as Sources


class Setting(NamedTuple):
    """How a setting of [export.nemo] names models."""

    table: str  # whose rows the models made
    switch: str  # the setting that leaves all these rows out
    label: Callable[[str], str]  # of a row's model, in the files
    means: Callable[[str, str], bool]  # whether a row's model is meant by a user's name


SETTINGS = {
    "embedding_algorithm": Setting("embeddings", "generate_embeddings", nemo.model_label, nemo.is_vector_of),
    "caption_models": Setting(
        "captions",
        "generate_captions",
        nemo.model_label,
        lambda model, name: nemo.model_label(model) in nemo.caption_labels([name]),
    ),
    "enhanced_caption_models": Setting(
        "enhanced",
        "generate_captions",
        nemo.enhanced_label,
        lambda model, name: nemo.enhanced_label(model) in nemo.enhanced_labels([name]),
    ),
}


def check_names(output: str, params: nemo.Params, sources: Sources) -> None:
    """Refuse, before Spark starts, a name that neither a known model nor one of the tables' files has."""
    for key, names in _named(params).items():
        setting = SETTINGS[key]
        for name in (name for name in names if not known_name(name) and spelled(name) not in nemo.PREFIXES):
            models = list(stored_models(f"{output}/tables/{setting.table}", sources))
            if models and not any(setting.means(model, name) for model in models):
                labels = dict.fromkeys([*map(setting.label, models), *KNOWN])
                raise UsageError(f"export.nemo.{key}: no model {name}: {right_names(name, labels)}")


def check_rows(run: Run, params: nemo.Params) -> None:
    """Refuse a model that made none of the rows that the last run's settings count."""
    for key, names in _named(params).items():
        setting = SETTINGS[key]
        models = [model for (model,) in run.made(setting.table).select("model").distinct().collect()]
        missing = [name for name in names if not any(setting.means(model, name) for model in models)]
        if missing:
            there = f"only by {', '.join(sorted(map(setting.label, models)))}" if models else "nor by any other model"
            raise UsageError(
                f"export.nemo.{key}: no rows of {setting.table} by {', '.join(missing)} here, {there}; "
                "leave the setting out to export all"
            )


def _named(params: nemo.Params) -> dict[str, tuple[str, ...]]:
    """The names that each setting gives, where their rows are exported at all."""
    algorithm = (params.embedding_algorithm,) if params.embedding_algorithm else ()
    names = {
        "embedding_algorithm": algorithm,
        "caption_models": params.caption_models,
        "enhanced_caption_models": params.enhanced_caption_models,
    }
    return {key: given for key, given in names.items() if given and getattr(params, SETTINGS[key].switch)}
