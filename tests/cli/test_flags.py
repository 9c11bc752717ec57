from __future__ import annotations

from commands import FROZEN, flags


def test_the_flags_are_those_of_the_list():
    """A new flag, or one that goes, is a decision: it changes tests/flags.txt too."""
    now, frozen = set(flags()), set(FROZEN.read_text(encoding="utf-8").splitlines())
    change = [f"+ {flag}" for flag in sorted(now - frozen)] + [f"- {flag}" for flag in sorted(frozen - now)]
    told = "The flags have changed. If this is intended, run `python tests/commands.py` and commit tests/flags.txt."
    assert not change, "\n".join([told, *change])


def test_the_list_is_sorted_and_has_commands_of_all_kinds():
    frozen = FROZEN.read_text(encoding="utf-8").splitlines()
    assert frozen == sorted(set(frozen))
    assert {"train --batch-size", "lists convert --from", "runs compare --json", "lists ucf101 --split"} <= set(frozen)
