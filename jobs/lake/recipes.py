"""What the rows of each stage depend on: the version of its code, sections of settings, models and other stages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """What a stage's rows depend on beside their key; `version` rises when its code gives other results."""

    version: int
    sections: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    models: tuple[str, ...] = ()  # settings that name a model, as section.key: another revision gives other rows


RECIPES: dict[str, Recipe] = {
    "ingest": Recipe(2),
    "split": Recipe(2, ("split",)),
    # A clip's key is its span, so that a span found by other settings is not cut again.
    "clip": Recipe(2, ("clip",)),
    "analyze": Recipe(1, ("analyze", "motion", "quality", "phash", "proxy", "preview", "windows"), ("clip",)),
    "copies": Recipe(1, ("copies",), ("analyze",)),
    # Not all of analyze: a new motion setting must not cost an embedding.
    "aesthetic": Recipe(1, ("aesthetic", "proxy"), ("clip",), models=("aesthetic.model", "aesthetic.head")),
    "embed": Recipe(1, ("embed", "proxy"), ("clip",), models=("embed.model",)),
    "dedup": Recipe(2, ("dedup",), ("embed",)),
    "filter": Recipe(1, ("filter",), ("analyze", "aesthetic", "dedup")),
    # Not filter: which clips are captioned does not change their captions.
    "caption": Recipe(1, ("caption", "windows", "proxy"), ("clip",), models=("caption.generation.model",)),
    "enhance": Recipe(1, ("enhance",), ("caption",), models=("enhance.generation.model",)),
    "align": Recipe(1, (), ("caption", "embed")),
    "export": Recipe(1, ("export",)),
    "maintain": Recipe(1),
    "takedown": Recipe(1),
}


# Those of the user's own stages by what their functions get; a version rises when udfs/custom.py gives other inputs.
CUSTOM_RECIPES: dict[str, Recipe] = {
    "frames": Recipe(1, ("proxy",), ("clip",)),
    "clip": Recipe(1, (), ("clip",)),
    "row": Recipe(1, (), ("analyze",)),
}


def sections(stage: str) -> tuple[str, ...]:
    """The sections of settings that rows of a stage depend on, those of the stages that it reads included.

    The user's own stages have a section custom.NAME, and may be of any of CUSTOM_RECIPES.
    """
    own = () if stage in RECIPES else (f"custom.{stage}",)
    recipes = CUSTOM_RECIPES.values() if own else (RECIPES[stage],)
    found = [*own]
    for recipe in recipes:
        found += [*recipe.sections, *(name for other in recipe.upstream for name in sections(other))]
    return tuple(dict.fromkeys(found))
