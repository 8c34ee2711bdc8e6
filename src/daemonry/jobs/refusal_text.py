"""What a refusal about a job says: its cause, and what to do, by the error's name and fields.

Owns the sentences.  The errors' classes are `refusals`', which load msgspec; the command line, which does
not, has the error's name and fields alone.
"""

from __future__ import annotations

from daemonry.spelling import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_SENTENCES = {
    "NoSuchJob": "there is no job {job}: it was never submitted, or ended so long ago that it is forgotten "
    "(`jobs list` shows those that are kept)",
    "NoSuchTask": "there is no task {task!r}: {known}",
    "UnfitParameters": "the task {task!r} cannot be called like this: {reason}",
    "KeyTaken": "the key {key!r} is that of job {job}, with another task or other parameters: "
    "choose another key, or none",
    "KeyTooLong": "the key {key}: choose a shorter one",
    "QueueFull": "{limit} jobs have not ended, and the daemon takes no more: submit it again when some have, "
    "or cancel some (`jobs cancel`)",
    "NotRetryable": "the state of job {job} is {state}: "
    "one that failed, was canceled or lost can be retried; submit it again to run it twice",
}


def sentence(name: str, fields: Mapping[str, Any]) -> str:
    """Return the sentence of a refusal; "" for an error of another interface.

    Args:
        name: the error's name, without its interface.
        fields: its fields; a daemon of another version may send fewer.
    """
    told: dict[str, Any] = dict(fields)
    known = told.get("known")
    if isinstance(known, list):
        told["known"] = did_you_mean(str(told.get("task")), map(str, known), "the tasks are")
    if name == "KeyTaken" and not told.get("job"):
        name = "KeyTooLong"
    try:
        return _SENTENCES.get(name, "").format(**told)
    except (KeyError, ValueError):
        return ""
