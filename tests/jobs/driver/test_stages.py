"""What a run says of its stages, in its result and in `_job/stats.json`."""

import json

from workshop import Workshop


def test_every_stage_of_a_run_is_accounted_for(workshop: Workshop) -> None:
    """All units, all tokens, no padding, and a share of what the machine multiplies."""
    workshop.numbered(20)
    result = workshop.run()
    stages = {stage.stage: stage for stage in result.stages}
    assert list(stages) == ["read", "tokenize", "encode", "commit"]
    assert {stage.units for stage in stages.values()} == {3}
    assert all(stage.busy_seconds > 0 for stage in stages.values())
    encode = stages["encode"]
    assert encode.tokens == result.tokens
    assert encode.padding_share == 0.0
    assert encode.product_share is not None
    assert 0 < encode.product_share < 2
    assert 0 < encode.busy_seconds <= result.worker_seconds <= result.seconds + 1
    written = json.loads((workshop.output / "_job" / "stats.json").read_text(encoding="utf-8"))
    assert [stage["stage"] for stage in written["stages"]] == list(stages)


def test_a_run_with_nothing_to_do_has_no_stages(workshop: Workshop) -> None:
    """The second of two."""
    workshop.numbered(20)
    workshop.run()
    result = workshop.run()
    assert (result.stages, result.worker_seconds) == ((), 0.0)
