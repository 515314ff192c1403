"""Host memory while a sharded expert is loaded; a process of its own reads files twice the size of the model."""

import sys

import pytest

from tests.bench.load_memory import run


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_expert_of_some_gigabytes_is_loaded_without_a_second_copy(tmp_path):
    report = run(2.2, tmp_path)
    print(report)
    # the rest is one read buffer and what importing torch's meta device costs once, some 80 MB
    assert report["peak_allocated_over_model"] < 1.1
    assert report["peak_resident_over_model"] < 1.15
