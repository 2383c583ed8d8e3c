"""Bulk jobs on Ray: the bits of a job without Ray, whatever is killed. ``make test-ray`` runs them."""

import os
from importlib.util import find_spec

import pytest

from basereward.scoring.bulk import BulkSettings, score_bulk
from basereward.scoring.model_spec import ModelSpec
from basereward.scoring.spec import open_spec
from tests.scoring.conftest import folder_contents, kill_jobs

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of this process, which ends with it."""
    if find_spec("ray") is None:
        if os.environ.get("BASEREWARD_TEST_RAY") == "1":
            pytest.fail("BASEREWARD_TEST_RAY=1 promises Ray, which is not installed here.")
        pytest.skip("Ray is not installed here; make test-ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        # With it Ray keeps to loopback.
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        import ray

        options = {"include_dashboard": False, "log_to_driver": False, "_node_ip_address": "127.0.0.1"}
        ray.init(num_cpus=3, object_store_memory=300 * 2**20, **options)
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory, text_backbone):
    from basereward.models.checkpoint import new_reward_model, save_reward_model

    return save_reward_model(new_reward_model(text_backbone), tmp_path_factory.mktemp("model"))


def test_workers_give_the_bits_of_one_process(cluster, tmp_path, records, model):
    for name, settings in (("local", {}), ("ray", {"engine": "ray", "workers": 2})):
        whole = BulkSettings(shard_rows=60, threads=1, **settings)
        score_bulk(ModelSpec(model=str(model)), str(records), tmp_path / name, open_spec, whole)
    assert len(list((tmp_path / "ray").glob("shard-*.parquet"))) == 12
    assert folder_contents(tmp_path / "ray") == folder_contents(tmp_path / "local")


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_jobs_killed_at_random_points_give_the_bits_of_one_process(cluster, tmp_path, records, kills):
    settings = {"shard_rows": 20, "threads": 1}
    on_ray = {"engine": "ray", "ray_address": cluster, **settings}
    told = kill_jobs(kills, "baseline:longer", records, tmp_path, on_ray, settings)
    assert kills < 20 or len(set(told["done"])) > 5
