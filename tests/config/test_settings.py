"""Settings: files and overrides become checked Params; an error names the nearest right name."""

import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from jobs.config.errors import SettingsError
from jobs.config.settings import SECTIONS, Settings, _flat, load, names
from jobs.lake.fingerprints import fingerprint
from jobs.lake.recipes import RECIPES


def test_without_anything_the_defaults_hold() -> None:
    assert load([], []) == Settings()


def test_a_later_file_wins_and_an_override_wins_over_files(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text("[motion]\nfps = 3\n[clip]\ncrf = 18\n")
    second.write_text("[motion]\nfps = 4\n")
    settings = load([str(first), str(second)], ["clip.crf=30"])
    assert (settings.motion.fps, settings.clip.crf) == (4, 30)


def test_a_bare_word_is_text() -> None:
    assert load([], ["split.method=content"]).split.method == "content"


def test_spark_keys_pass_through_as_text() -> None:
    assert load([], ["spark.spark.sql.shuffle.partitions=8", "spark.spark.ui.enabled=true"]).spark == {
        "spark.sql.shuffle.partitions": "8",
        "spark.ui.enabled": "true",
    }


def test_spark_keys_need_no_quotes_in_a_file(tmp_path: Path) -> None:
    files = [tmp_path / "a.toml", tmp_path / "b.toml"]
    files[0].write_text('[spark]\n"spark.driver.memory" = "2g"\nspark.ui.enabled = true\n')
    files[1].write_text('[spark]\nspark.driver.memory = "3g"\n[spark.spark.sql]\nshuffle.partitions = 8\n')
    expected = {"spark.driver.memory": "3g", "spark.ui.enabled": "true", "spark.sql.shuffle.partitions": "8"}
    assert load([*map(str, files)], []).spark == expected
    assert load([*map(str, files)], ["spark.spark.driver.memory=4g"]).spark == expected | {"spark.driver.memory": "4g"}


def test_a_file_of_an_editor_on_windows_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(
        b'\xef\xbb\xbf[motion]\r\nfps = 3\r\n[filter]\r\nwhere = """\r\nc.width > 3"""\r\n'
    )
    settings = load([str(tmp_path / "a.toml")], [])
    assert (settings.motion.fps, settings.filter.where) == (3, "c.width > 3")


@pytest.mark.parametrize(
    "override", ['motion."fps=4"', 'custom.x.checks."width=3"=4', "motion.'fps=4", '"motion.fps=4"']
)
def test_quotes_around_more_than_keys_are_refused(override: str) -> None:
    with pytest.raises(SettingsError, match=r"write it as section\.key=value"):
        load([], [override])


@pytest.mark.parametrize("override", ["motion.“fps”=4", "`motion`.fps=4", '"motion" .fps=4'])
def test_other_quotes_and_blanks_are_no_part_of_a_name(override: str) -> None:
    with pytest.raises(SettingsError, match=r"no se(tting|ction)"):
        load([], [override])


def test_82_keys_may_be_quoted_as_in_a_file() -> None:
    settings = load([], ['motion."fps"=4', 'spark."spark.ui.enabled"=true', "'clip'.crf=30"])
    assert (settings.motion.fps, settings.clip.crf, settings.spark) == (4, 30, {"spark.ui.enabled": "true"})


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ('mot."ion=1', '--set mot."ion=1: write it as section.key=value'),
        ("motion.fsp=1", "--set: no setting motion.fsp; did you mean motion.fps?"),
        (
            "limits.timeout_per_s=3",
            "--set: no setting limits.timeout_per_s any more; leave it out: limits.timeout_s is",
        ),
        ("export.fps=[1]", "--set: no setting export.fps any more; it is export.frames.fps now"),
        ("moton.fps=1", "--set: no section [moton]; did you mean motion?"),
        ("motion", "--set motion: write it as section.key=value"),
        ("motion.fps=-1", "motion.fps: Input should be greater than"),
        ("filter.blur_threshold=inf", "filter.blur_threshold: Input should be a finite number"),
        ("filter.motion_global_mean_threshold=nan", "filter.motion_global_mean_threshold: Input should be a finite"),
        ("curate.report=maybe", "curate.report: give true or false, got 'maybe'"),
        ("clip.crf=1.5", "clip.crf: give a whole number, got 1.5"),
        ("motion.fps=fast", "motion.fps: give a number, got 'fast'"),
        ("filter.where=[1]", "filter.where: give text, got "),
        ("export.webdataset.aspects=4:3", "export.webdataset.aspects: give a list, as in [1, 2], got '4:3'"),
        ("clip.encoder=x265", "clip.encoder: Input should be"),
        ("aesthetic.model=clop", "aesthetic.model: no model clop: did you mean clip?"),
        ("embed.model=siglp2", "embed.model: no model siglp2: did you mean siglip2?"),
        (
            "embed.model=internvideo2",
            "embed.model: no model internvideo2: name a folder with its own code, laid out as",
        ),
        ("caption.model_variant=nemotron", "caption.model_variant: no model nemotron: known are qwen2.5, qwen3"),
        ("enhance.model_variant=clip", "enhance.model_variant: no model clip: "),
        ('models.remote_code=["cosmos"]', "models.remote_code.0: no model cosmos: did you mean cosmos-embed1-"),
        ("split.clip_stride_s=0", "split.clip_stride_s: "),
        ("split.clip_stride_s=20", "split: clip_stride_s 20.0 is over clip_len_s 10.0"),
        ("split.min_clip_length_s=11", "split: min_clip_length_s 11.0 is over clip_len_s 10.0"),
        ("sources.s3_endpoint=http://me:s3cret@host", "sources: s3_endpoint: an address must not contain credentials"),
        ("split.clip_len_s=nan", "split.clip_len_s: "),
    ],
)
def test_a_wrong_setting_is_one_line(override: str, said: str) -> None:
    with pytest.raises(SettingsError) as e:
        load([], [override])
    assert str(e.value).startswith(said)
    assert "\n" not in str(e.value)


def test_a_file_that_is_not_there_or_no_toml_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[motion\n")
    for name in (str(bad), str(tmp_path / "none.toml")):
        with pytest.raises(SettingsError, match=name):
            load([name], [])


def test_local_toml_holds_every_setting_with_its_default() -> None:
    given = tomllib.loads(Path("conf/local.toml").read_text(encoding="utf-8"))
    spark = given.pop("spark")
    assert load(["conf/local.toml"], []) == Settings(spark=spark)
    optional = {"split.clip_stride_s", "clip.crf", "embed.num_frames"}  # TOML has no null
    optional |= {name for name in names() if ".resources.executor_" in name}
    assert {name for section, keys in given.items() for name in _flat(section, keys)} == set(names()) - optional


def test_a_value_that_is_no_choice_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"got 'transnet'; did you mean transnetv2\?$"):
        load([], ["split.method=transnet"])


def test_names_of_nemo_curator_stand_for_models_of_the_registry() -> None:
    settings = load([], ["embed.model=cosmos-embed1", "enhance.model_variant=qwen3", "caption.prompt_variant=AV"])
    assert (settings.embed.model, settings.enhance.generation.model) == ("cosmos-embed1-224p", "qwen3-lm")
    assert settings.caption.prompt_variant == "av"


@pytest.mark.parametrize("variant", ["qwen", "qwen2.5", "qwen3"])
def test_a_known_caption_model_is_hashed_as_it_was_always_spelled(variant: str) -> None:
    settings = load([], [f"caption.model_variant={variant}"])
    assert settings.caption.model_variant == variant
    assert settings.caption.generation.model == {"qwen": "qwen2.5"}.get(variant, variant)


def test_a_folder_named_like_a_repository_is_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Qwen/Qwen3-VL-8B-Instruct").mkdir(parents=True)
    settings = load([], ["caption.model_variant=Qwen/Qwen3-VL-8B-Instruct"])
    assert settings.caption.generation.model == f"{tmp_path}/Qwen/Qwen3-VL-8B-Instruct"


@pytest.mark.parametrize("name", ["conf/gpu.toml", "conf/tiny.toml"])
def test_the_other_files_name_only_settings_that_there_are(name: str) -> None:
    settings = load([name], [])
    assert settings.curate.caption
    assert settings.embed.model != Settings().embed.model


@pytest.mark.parametrize("stage", RECIPES)
def test_a_fingerprint_depends_on_its_own_sections_only(stage: str) -> None:
    def sections(stage: str) -> set[str]:
        own = set(RECIPES[stage].sections)
        return own.union(*(sections(other) for other in RECIPES[stage].upstream))

    changed = {
        "split": "split.clip_len_s=5",
        "clip": "clip.crf=30",
        "motion": "motion.fps=1",
        "proxy": "proxy.fps=2",
        "embed": "embed.num_frames=4",
        "dedup": "dedup.seed=1",
        "filter": "filter.motion=true",
        "limits": "limits.memory_mb=512",
    }
    for section, override in changed.items():
        differs = fingerprint(stage, load([], [override])) != fingerprint(stage, Settings())
        assert differs == (section in sections(stage)), (stage, section)


def test_every_section_of_every_recipe_exists() -> None:
    assert {section for recipe in RECIPES.values() for section in recipe.sections} <= set(SECTIONS)


def test_settings_survive_the_trip_to_a_worker() -> None:
    import pickle

    assert asdict(pickle.loads(pickle.dumps(Settings()))) == asdict(Settings())
