"""From the chains a tracker found to tracks: category, score, ranking (docs/method.md §5.2). The same for all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from wsvis_core.config import TrackingSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.tracking.tracks import Chain, Place, Track


def assemble_tracks(
    chains: Sequence[Chain],
    proposals: Sequence[EncodedInstances],
    settings: TrackingSettings,
    given: np.ndarray | None = None,
) -> list[Track]:
    """The best `max_tracks` chains as tracks of T frames, best first; then their second hypotheses, if wanted.

    given (T,C) bool: the classes that each frame is known to have; no track has a mask where its class is not given.
    None where nothing is known.
    """
    if given is not None:
        chains = [part for chain in chains for part in _within_labels(chain, proposals, settings, given)]
    tracks = [_to_track(chain.places, proposals, settings) for chain in chains]
    both = zip(tracks, chains, strict=True)
    keys = [track.score if chain.ranking is None else chain.ranking for track, chain in both]
    order = sorted(range(len(tracks)), key=lambda i: -keys[i])[: settings.max_tracks]
    best = [tracks[i] for i in order]
    if not settings.second_hypothesis:
        return best
    second = [_second(tracks[i], chains[i].places, proposals, given) for i in order]
    return best + [track for track in second if track is not None]


def _within_labels(
    chain: Chain, proposals: Sequence[EncodedInstances], settings: TrackingSettings, given: np.ndarray
) -> Iterator[Chain]:
    """A chain in the frames that are given its elected class; then what is left of it, which is another object.

    A proposal whose own class is not given votes for nothing and is left out.
    """
    rest = [(t, i) for t, i in chain.places if given[t, proposals[t].classes[i]]]
    while rest:
        category = _elected(_votes(rest, proposals, settings.category))
        part = tuple(place for place in rest if given[place[0], category])
        share = len(part) / len(chain.places)
        yield replace(chain, places=part, ranking=None if chain.ranking is None else chain.ranking * share)
        rest = [place for place in rest if not given[place[0], category]]


def _to_track(places: Sequence[Place], proposals: Sequence[EncodedInstances], settings: TrackingSettings) -> Track:
    """The track of a chain, with its elected category and its video score."""
    category = _elected(_votes(places, proposals, settings.category))
    scores = [float(proposals[t].scores[i]) for t, i in places]
    score = math.fsum(scores) / len(scores)
    if settings.length_weighted_score:
        score *= len(places) / len(proposals)
    return _fill(category, score, places, proposals)


def _elected(votes: dict[int, float]) -> int:
    """The category with the most votes, of equal ones the smallest."""
    return max(votes, key=lambda c: (votes[c], -c))


def _fill(category: int, score: float, places: Sequence[Place], proposals: Sequence[EncodedInstances]) -> Track:
    number = dict(places)
    present = [number.get(t) for t in range(len(proposals))]
    pairs = list(zip(proposals, present, strict=True))
    return Track(
        category,
        score,
        tuple(None if i is None else frame.rles[i] for frame, i in pairs),
        tuple(None if i is None else float(frame.scores[i]) for frame, i in pairs),
    )


def _votes(
    places: Sequence[Place], proposals: Sequence[EncodedInstances], vote: str = "summed_score"
) -> dict[int, float]:
    """Summed score, or number of frames, of every class that the proposals at `places` have."""
    votes: dict[int, float] = {}
    for t, i in places:
        category = int(proposals[t].classes[i])
        weight = float(proposals[t].scores[i]) if vote == "summed_score" else 1.0
        votes[category] = votes.get(category, 0.0) + weight
    return votes


def _second(
    track: Track, places: Sequence[Place], proposals: Sequence[EncodedInstances], given: np.ndarray | None
) -> Track | None:
    """The same masks with the class of the second largest summed score; score lowered by the ratio of the sums.

    Where classes are given, only the masks of frames that have that class.
    """
    votes = _votes(places, proposals)
    first = votes.pop(track.category)
    if not votes:
        return None
    runner_up = _elected(votes)
    # Paper silent: how much lower. Ratio of the sums, at most just 1.
    score = track.score * min(1.0, votes[runner_up] / first) if first > 0 else 0.0
    kept = places if given is None else [place for place in places if given[place[0], runner_up]]
    return _fill(runner_up, score, kept, proposals)
