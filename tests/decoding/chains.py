"""Chains small enough to list all of their paths."""

import itertools

import numpy as np

from decoding.crf import FORBIDDEN, CrfScores, allowed_transitions

NAMES = {
    "bio": ("O", "B-P", "I-P", "B-Q", "I-Q"),
    "bioes": ("O", "B-P", "I-P", "E-P", "S-P"),
}


def random_scores(rng, tags, scheme=None, scale=2.0):
    """Scores of a chain; with a scheme, of its tags."""
    start, pairs, end = (scale * rng.normal(size=s) for s in ((tags,), (tags, tags), (tags,)))
    if scheme:
        allowed = allowed_transitions(NAMES[scheme][:tags], scheme)
        found = zip(allowed, (start, pairs, end), strict=True)
        start, pairs, end = (np.where(yes, x, FORBIDDEN) for yes, x in found)
    return CrfScores(*(x.astype(np.float32) for x in (pairs, start, end)))


def path_score(emissions, scores, path):
    """Score of one path of a row, in float64."""
    if not len(path):
        return 0.0
    total = sum(float(emissions[t, tag]) for t, tag in enumerate(path))
    total += float(scores.start[path[0]]) + float(scores.end[path[-1]])
    return total + sum(
        float(scores.transitions[a, b]) for a, b in zip(path, path[1:], strict=False)
    )


def every_path(emissions, length, scores):
    """All paths of a row that are allowed, with their scores; in the order of their tags."""
    paths = list(itertools.product(range(emissions.shape[-1]), repeat=int(length)))
    totals = np.array([path_score(emissions, scores, path) for path in paths])
    kept = totals > FORBIDDEN / 2
    return [path for path, yes in zip(paths, kept, strict=True) if yes], totals[kept]


def exact_marginals(emissions, length, scores):
    """``<float64>[time, tags]`` by listing all paths."""
    paths, totals = every_path(emissions, length, scores)
    shares = np.exp(totals - np.logaddexp.reduce(totals))
    found = np.zeros(emissions.shape)
    for path, share in zip(paths, shares, strict=True):
        for t, tag in enumerate(path):
            found[t, tag] += share
    return found
