"""Batch sizes of an engine."""

import pytest
from slimgate.artifact.profile import (
    Profile,
    choose_profile,
    fixed_batch,
    profile_from_text,
    profiles_for_batches,
    profiles_from_batch,
)
from slimgate.errors import UsageError


def test_a_batch_is_one_profile():
    assert profiles_from_batch(4) == (Profile(4, 4, 4),)
    assert profiles_from_batch(0) == (Profile(1, 1, 32),)
    with pytest.raises(UsageError, match=r"batch -1: negative\n  expected: 0 \(1 to 32\) or a size"):
        profiles_from_batch(-1)


def test_a_profile_as_text():
    assert profile_from_text("1:8:32") == Profile(1, 8, 32)
    assert str(Profile(1, 8, 32)) == "1:8:32"


@pytest.mark.parametrize("text", ["1:8", "8:1:32", "0:1:2", "1:8:4", "a:b:c", "1:2:3:4", ""])
def test_no_profile(text):
    with pytest.raises(UsageError, match="not three batch sizes in ascending order") as caught:
        profile_from_text(text)
    assert "expected: MIN:OPT:MAX, such as 1:1:32" in str(caught.value)


def test_each_kind_gets_the_profiles_that_serve_it():
    assert profiles_for_batches("tensorrt", [32, 1]) == (Profile(1, 1, 1), Profile(32, 32, 32))
    assert profiles_for_batches("tensorrt-rtx", [32, 1]) == (Profile(1, 1, 32),)
    assert (
        profiles_for_batches("tensorrt", [1])
        == profiles_for_batches("tensorrt-rtx", [1])
        == (Profile(1, 1, 1),)
    )


def test_fixed_or_not():
    assert fixed_batch([Profile(4, 4, 4)]) == 4
    assert fixed_batch([Profile(1, 1, 1), Profile(4, 4, 4)]) == 0
    assert fixed_batch([Profile(1, 1, 2)]) == 0


@pytest.mark.parametrize(
    ("batch", "chosen"),
    [(1, 0), (2, 2), (4, 2), (5, 1), (31, 1), (32, 1), (33, None)],
)
def test_the_profile_with_the_least_to_fill_up(batch, chosen):
    profiles = [Profile(1, 1, 1), Profile(32, 32, 32), Profile(2, 4, 4)]
    assert choose_profile(profiles, batch) == chosen


def test_of_two_that_need_no_filling_the_one_tuned_closer():
    assert choose_profile([Profile(1, 1, 32), Profile(1, 16, 32)], 12) == 1
