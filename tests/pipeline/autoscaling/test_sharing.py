"""Pools that share a cluster get what they want where it fits, and a fair part where it does not."""

from hypothesis import given
from hypothesis import strategies as st

from corpusmill.pipeline.autoscaling.together import Claim, share_out

claims = st.lists(
    st.builds(
        Claim,
        wanted=st.integers(0, 200),
        least=st.integers(0, 3),
        cost=st.sampled_from([0.25, 1.0, 2.0, 4.0]),
    ),
    min_size=1,
    max_size=5,
)


@given(claims=claims, room=st.floats(0, 500))
def test_no_pool_is_starved_and_the_room_is_kept(claims: list[Claim], room: float) -> None:
    """Each gets its least; no more than fits beyond that; nothing that fits is left unused."""
    granted = share_out(claims, room)
    least = [min(claim.wanted, claim.least) for claim in claims]
    spent = sum(count * claim.cost for count, claim in zip(granted, claims, strict=True))
    floor = sum(count * claim.cost for count, claim in zip(least, claims, strict=True))
    assert spent <= max(room, floor) + 1e-9
    for count, own, claim in zip(granted, least, claims, strict=True):
        assert own <= count <= claim.wanted
        assert count == claim.wanted or room - spent < claim.cost


def test_shares_follow_what_each_wants() -> None:
    """Three quarters and a quarter, and the small one is not squeezed out by the large one."""
    assert share_out([Claim(90, 1, 1.0), Claim(30, 1, 1.0)], 40) == (30, 10)
    assert share_out([Claim(1_000, 1, 1.0), Claim(1, 1, 1.0)], 40) == (39, 1)
    assert share_out([Claim(5, 1, 1.0), Claim(5, 1, 1.0)], 40) == (5, 5)
