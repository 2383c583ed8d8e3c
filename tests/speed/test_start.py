"""What starts read and take is measured in processes of their own, and small where nothing is left to do."""

import pytest

from basereward.lab.backbone import write_backbone
from basereward.speed.start import FEW, measure_start


@pytest.mark.slow
@pytest.mark.parametrize("has_images", [False, True])
def test_a_second_start_reads_what_the_first_has_kept(has_images, tmp_path):
    backbone = write_backbone(tmp_path / "backbone", size="test")
    report = measure_start(str(backbone), 2 * FEW, has_images, keep=tmp_path / "pairs")
    assert report.first is not None
    assert report.first.cpu_seconds > report.second.cpu_seconds
    assert report.first.read_bytes > report.second.read_bytes + report.data_bytes
    assert report.above["read_share_of_images"] < 0.2
    assert 0 < report.cache_bytes < 0.1 * report.data_bytes
    assert report.to_dict()["above"] == report.above
    # Without lengths of their own texts are repeated from the few.
    if not has_images:
        again = measure_start(str(backbone), 2 * FEW, keep=tmp_path / "pairs", repeats_lengths=True)
        assert again.first is None
        assert again.data_bytes == report.data_bytes
