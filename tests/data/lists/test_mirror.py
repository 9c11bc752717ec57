"""Which classes are mirror images, judged by their names."""

from __future__ import annotations

import pytest

from actrec.data.lists import read_flips
from actrec.data.lists.mirror import propose_flips, unmirrored, write_flips


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("v_swiping_left", "v_swiping_right"),
        ("Sliding Two Fingers Left", "Sliding Two Fingers Right"),
        ("Turning Hand Clockwise", "Turning Hand Counterclockwise"),
        ("rotate clockwise", "rotate anti-clockwise"),
        ("rotate clockwise", "rotate counter clockwise"),
        ("knob cw", "knob ccw"),
        ("cw", "anticlockwise"),
        ("turn_cw", "turn_counter_clockwise"),
        ("TurnClockwise", "turn acw"),
        ("arms left over right", "arms right over left"),
        ("turn right now", "turn left now"),
        ("wipe_l2r", "wipe_r2l"),
        ("Pulling [something] from left to right", "Pulling [something] from right to left"),
        ("SwipeLeft", "SwipeRight"),
        ("swipeleft", "swiperight"),
        ("kick_l", "kick_r"),
        ("lean leftwards", "lean rightwards"),
        ("left-handed throw", "right-handed throw"),
        ("left up", "right up"),
        ("Abbiegen links", "Abbiegen rechts"),
        ("向左挥手", "向右挥手"),
    ],
)
def test_pairs(one, other):
    assert propose_flips(["walk", one, "run", other]) == [(one, other)]
    assert propose_flips([other, one]) == [(other, one)]
    assert unmirrored(["walk", one, "run", other]) == (0, -1, 2, -1)


@pytest.mark.parametrize(
    "name", ["turn left", "spin counterclockwise", "hook (right)", "R2L", "ccw", "counter_clockwise", "left over right"]
)
def test_a_direction_without_its_opposite_is_never_mirrored(name):
    assert propose_flips(["walk", name]) == [(name, "-")]


def test_names_without_a_direction():
    names = [
        "swipe up", "swipe down", "push forward", "pull backward", "upright", "bright light", "fright", "write",
        "kick_r", "links", "golf", "0", "1", "l", "raise left and right hand", "leftover", "playright",
        "all right", "AllRight", "copyright", "right now", "right_away", "leftovers", "left over food", "human rights",
        "right angle", "bag left behind",
    ]  # fmt: skip
    assert propose_flips(names) == []
    assert unmirrored(names) is None
    assert propose_flips([]) == []


def test_a_name_with_two_candidates_is_never_mirrored():
    names = ["turn_left", "Turn Left", "turn right"]
    assert propose_flips(names) == [(name, "-") for name in names]


def test_what_is_written_reads_back(tmp_path):
    names = ["swipe left", "swipe right", "turn, left", "wave; hello", "a b"]
    write_flips(tmp_path / "flips.txt", propose_flips(names))
    assert read_flips(tmp_path / "flips.txt", names) == (1, 0, -1, 3, 4)


def test_names_like_comments(tmp_path):
    names = ["# left", "# right", "up"]
    write_flips(tmp_path / "flips.txt", propose_flips(names))
    assert read_flips(tmp_path / "flips.txt", names) == (1, 0, 2)
    (tmp_path / "flips.txt").write_text("# left\tright\n")
    assert read_flips(tmp_path / "flips.txt", ["left", "right"]) == (0, 1)
