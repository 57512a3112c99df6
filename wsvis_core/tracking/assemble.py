"""From the chains a tracker found to tracks: category, score, ranking (docs/method.md §5.2). The same for all."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wsvis_core.config import TrackingSettings
from wsvis_core.storage.instance_shards import EncodedInstances
from wsvis_core.tracking.tracks import Chain, Place, Track


def assemble_tracks(
    chains: Sequence[Chain], proposals: Sequence[EncodedInstances], settings: TrackingSettings
) -> list[Track]:
    """The best `max_tracks` chains as tracks of T frames, best first; then their second hypotheses, if wanted."""
    tracks = [_to_track(chain.places, proposals, settings) for chain in chains]
    both = zip(tracks, chains, strict=True)
    keys = [track.score if chain.ranking is None else chain.ranking for track, chain in both]
    order = sorted(range(len(tracks)), key=lambda i: -keys[i])[: settings.max_tracks]
    best = [tracks[i] for i in order]
    if not settings.second_hypothesis:
        return best
    second = [_second(tracks[i], chains[i].places, proposals) for i in order]
    return best + [track for track in second if track is not None]


def _to_track(places: Sequence[Place], proposals: Sequence[EncodedInstances], settings: TrackingSettings) -> Track:
    """The track of a chain, with its elected category (of equal votes the smallest) and its video score."""
    votes = _votes(places, proposals, settings.category)
    scores = [float(proposals[t].scores[i]) for t, i in places]
    score = math.fsum(scores) / len(scores)
    if settings.length_weighted_score:
        score *= len(places) / len(proposals)
    return _fill(max(votes, key=lambda c: (votes[c], -c)), score, places, proposals)


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


def _second(track: Track, places: Sequence[Place], proposals: Sequence[EncodedInstances]) -> Track | None:
    """The same masks with the class of the second largest summed score; score lowered by the ratio of the sums."""
    votes = _votes(places, proposals)
    first = votes.pop(track.category)
    if not votes:
        return None
    runner_up = max(votes, key=lambda c: (votes[c], -c))
    # Paper silent: how much lower. Ratio of the sums, at most just 1.
    score = track.score * min(1.0, votes[runner_up] / first) if first > 0 else 0.0
    return _fill(runner_up, score, places, proposals)
