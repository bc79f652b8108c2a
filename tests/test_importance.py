"""The choice of a child network's entries: exact thresholds, published rules, packed places."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pegbox.errors import NonFiniteError, RecipeError
from pegbox.importance import mass, order_statistics, overlap, pack, select, threshold, unpack

SHARES = (0.001, 0.01, 0.1, 0.2, 0.25, 0.3, 0.5, 1.0)


def parts(values: np.ndarray, count: int = 3) -> dict[str, torch.Tensor]:
    return {str(place): torch.from_numpy(part.copy()) for place, part in enumerate(np.array_split(values, count))}


def kept(choice: dict[str, torch.Tensor]) -> int:
    return sum(len(index) for index in choice.values())


@st.composite
def importances(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(1, 4000))
    kind = draw(st.sampled_from(["plain", "ties", "zeros", "tiny"]))
    values = np.random.default_rng(draw(st.integers(0, 2**31))).random(size).astype(np.float32) ** 4
    if kind == "ties":
        values = np.round(values, 2)
    if kind == "zeros":
        values[: int(size * draw(st.floats(0, 1)))] = 0
    return values * np.float32(1e-30) if kind == "tiny" else values


@given(importances(), st.sampled_from(SHARES))
@settings(deadline=None, max_examples=150)
def test_the_threshold_is_numpys_percentile_to_the_last_bit(values: np.ndarray, share: float) -> None:
    wanted = np.float32(np.percentile(values, (1 - share) * 100))
    assert np.float32(threshold(parts(values).values(), share)) == wanted
    (chosen,) = select(parts(values), [share], "percentile")
    assert kept(chosen) == int((values >= wanted).sum())


def millions(kind: str) -> np.ndarray:
    """Returns three million importances: heavy-tailed, and with equals of one kind among them."""
    values = np.random.default_rng(0).random(3_000_000).astype(np.float32) ** 8
    if kind == "one value":
        values[::7] = values[0]
    if kind == "ties":
        values = np.round(values, 2)
    if kind == "zeros":
        values[np.random.default_rng(1).random(3_000_000) < 0.995] = 0
    return np.repeat(values[:1_000_000], 3) if kind == "duplicates" else values


@pytest.mark.parametrize("kind", ["one value", "ties", "zeros", "duplicates"])
def test_three_million_entries_as_numpy_ranks_them(kind: str) -> None:
    """With zeros the thresholds of a tenth and a hundredth are zero: all are kept there, or only those above it."""
    values = millions(kind)
    found, shares, ordered = parts(values, 5), (0.1, 0.01, 0.001), np.argsort(-values, kind="stable")
    published, exact = select(found, shares, "percentile"), select(found, shares)
    starts = np.cumsum([0, *(len(part) for part in found.values())])[:5]
    for share, loose, strict in zip(shares, published, exact, strict=True):
        wanted = np.float32(np.percentile(values, (1 - share) * 100))
        assert np.float32(threshold(found.values(), share)) == wanted
        assert kept(loose) == int((values >= wanted).sum())
        first = ordered[: round(share * len(values))]
        places = [strict[name].numpy() + start for name, start in zip(found, starts, strict=True) if name in strict]
        assert np.array_equal(np.concatenate(places), np.sort(first[values[first] > 0]))


@given(importances(), st.sampled_from(SHARES))
@settings(deadline=None, max_examples=150)
def test_topk_keeps_exactly_the_share_and_the_first_of_equals(values: np.ndarray, share: float) -> None:
    (chosen,) = select(parts(values), [share])
    order = np.argsort(-values, kind="stable")[: round(share * len(values))]
    wanted = np.sort(order[values[order] > 0])
    starts = np.cumsum([0, *(len(part) for part in parts(values).values())])
    found = [chosen[name].numpy() + start for name, start in zip("012", starts, strict=False) if name in chosen]
    assert np.array_equal(np.concatenate([*found, np.zeros(0, dtype=int)]), wanted)


@given(importances(), st.sampled_from(["topk", "percentile"]))
@settings(deadline=None, max_examples=50)
def test_smaller_choices_lie_within_larger_ones(values: np.ndarray, rule: str) -> None:
    small, middle, large = select(parts(values), [0.001, 0.01, 0.1], rule)  # type: ignore[arg-type]
    for inner, outer in ((small, middle), (middle, large)):
        assert overlap(outer, inner) == 1.0 or not kept(inner)


@pytest.mark.parametrize(
    ("share", "value", "count"), [(0.1, 9.1, 1), (0.2, 8.2, 2), (0.25, 7.75, 3), (0.001, 9.991, 1), (1, 1, 10)]
)
def test_published_thresholds(share: float, value: float, count: int) -> None:
    ranks = {"w": torch.arange(1.0, 11.0)}
    assert threshold(ranks.values(), share) == pytest.approx(value, rel=1e-6)
    assert kept(select(ranks, [share], "percentile")[0]) == count


def test_published_sizes_of_hubert_base() -> None:
    distinct = (torch.arange(85_057_024, dtype=torch.int32) * 8).view(torch.float32)
    sizes = [int((distinct >= threshold([distinct], share)).sum()) for share in (0.1, 0.01, 0.001)]
    assert sizes == [8_505_703, 850_571, 85_058]


@pytest.mark.parametrize(
    ("values", "share", "published", "topk"),
    [
        ([5, 5, 5, 5, 1], 0.2, 4, 1),
        ([0] * 9 + [7], 0.5, 10, 1),  # a threshold of zero keeps everything there, and never an idle entry here
        ([0, 0, 0, 3, 3, 3, 3, 9, 9, 9], 0.2, 3, 2),
    ],
)
def test_ties(values: list[float], share: float, published: int, topk: int) -> None:
    found = {"w": torch.tensor(values, dtype=torch.float32)}
    assert kept(select(found, [share], "percentile")[0]) == published
    assert kept(select(found, [share])[0]) == topk


def test_order_statistics_of_everything() -> None:
    values = np.random.default_rng(1).random(500).astype(np.float32)
    found = order_statistics(list(parts(values).values()), range(500))
    assert np.array_equal(np.array(found, dtype=np.float32), np.sort(values))


def test_a_number_that_is_not_finite_is_named() -> None:
    with pytest.raises(NonFiniteError, match=r"'q' holds 1 numbers that are not finite"):
        select({"k": torch.ones(3), "q": torch.tensor([1.0, float("nan")])}, [0.5])
    with pytest.raises(RecipeError, match="keep=0: a share"):
        select({"k": torch.ones(3)}, [0])


@given(st.integers(1, 3000), st.floats(0, 1), st.integers(0, 1000))
@settings(deadline=None)
def test_packed_places_come_back(entries: int, share: float, seed: int) -> None:
    index = torch.randperm(entries, generator=torch.Generator().manual_seed(seed))[: round(share * entries)]
    index = index.sort().values.int()
    assert torch.equal(unpack(*pack(index, entries), entries), index)


def test_places_take_few_bits() -> None:
    index = torch.randperm(1_000_000)[:1000].sort().values.int()
    assert sum(len(code) for code in pack(index, 1_000_000)) * 8 / 1000 < 2.1 + np.log2(1000)


def test_mass_is_the_part_of_the_most_important() -> None:
    found = mass({"a": torch.tensor([8.0, 0.0, 1.0]), "b": torch.tensor([1.0])}, (0.25, 0.5, 1.0))
    assert found == pytest.approx({0.25: 0.8, 0.5: 0.9, 1.0: 1.0})


@given(importances())
@settings(deadline=None, max_examples=100)
def test_mass_equals_the_sum_of_what_is_sorted(values: np.ndarray) -> None:
    whole = values.astype(np.float64).sum()
    ordered = np.sort(values)[::-1].astype(np.float64)
    wanted = {share: ordered[: max(round(share * len(values)), 1)].sum() for share in SHARES}
    assert mass(parts(values), SHARES) == pytest.approx({k: v / whole if whole else 0.0 for k, v in wanted.items()})
