"""Serve profiles: what is in configs/profiles, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray import serve

from deployments.settings import CONFIGS, Settings
from kit.errors import SetupError
from serve_app.graph import build
from serve_app.profiles import StagePlacement, load_profile

NAMES = sorted(path.stem for path in (CONFIGS / "profiles").glob("*.yaml"))


def write(folder: Path, content: Any) -> None:
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))


def valid() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((CONFIGS / "profiles" / "local.yaml").read_text())
    return content


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_loads_and_places_each_stage(name: str) -> None:
    profile = load_profile(name)
    assert len(profile.stages) == 6


@pytest.mark.parametrize("name", NAMES)
def test_ray_serve_takes_the_options_of_every_own_stage(name: str) -> None:
    profile = load_profile(name)
    for stage in [profile.ingress, *(profile.stages[own] for own in profile.own_stages())]:
        serve.deployment(type("Stage", (), {}), name="stage", **stage.deployment_options(None))


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_can_be_bound(name: str, tmp_path: Path) -> None:
    assert build(Settings(home=tmp_path), load_profile(name)) is not None


def test_settings_and_files_name_the_same_profiles() -> None:
    allowed = Settings.model_fields["server"].annotation.model_fields["profile"].annotation
    assert sorted(allowed.__args__) == NAMES


def test_an_unknown_profile_lists_those_there_are() -> None:
    with pytest.raises(SetupError, match=", ".join(NAMES)):
        load_profile("nonsense")


def test_all_wrong_keys_are_listed_at_once(tmp_path: Path) -> None:
    content = valid()
    content["stages"]["router"] = {"placement": "elsewhere"}
    content["stages"]["embedder"]["num_cpus"] = -1
    content["stages"]["cache"]["autoscaling"]["max_replica"] = 3
    content["stages"]["printer"] = {}
    content["ingres"] = {}
    write(tmp_path, content)
    with pytest.raises(SetupError) as error:
        load_profile("mine", tmp_path)
    for part in ("stages.router.placement", "stages.embedder.num_cpus", "max_replica", "printer", "ingres"):
        assert part in error.value.message


def test_a_stage_that_is_not_placed_is_named(tmp_path: Path) -> None:
    content = valid()
    del content["stages"]["reranker"], content["stages"]["cache"]
    write(tmp_path, content)
    with pytest.raises(SetupError, match="cache, reranker"):
        load_profile("mine", tmp_path)


@pytest.mark.parametrize("text", ["", "- a list", "stages: [", "ingress: 3"])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SetupError, match=r"mine\.yaml"):
        load_profile("mine", tmp_path)


def test_more_replicas_at_least_than_at_most_is_refused(tmp_path: Path) -> None:
    content = valid()
    content["stages"]["embedder"]["autoscaling"] = {"min_replicas": 3, "max_replicas": 2}
    write(tmp_path, content)
    with pytest.raises(SetupError, match="min_replicas"):
        load_profile("mine", tmp_path)


@pytest.mark.parametrize(("workers", "least", "most"), [(None, 2, 16), (4, 2, 4), (1, 1, 1), (99, 2, 16)])
def test_max_workers_caps_every_stage(workers: int | None, least: int, most: int) -> None:
    stage = StagePlacement.model_validate({"autoscaling": {"min_replicas": 2, "max_replicas": 16}})
    scaling = stage.deployment_options(workers)["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (least, most)
