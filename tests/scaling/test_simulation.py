"""That the simulated cluster keeps to what is known of real ones."""

from dataclasses import replace

import pytest

from tests.scaling.simulation import Course, Setting, Simulation

SETTING = Setting(recordings=20_000, workers=10, shard=100, spread=0.0)


def course(setting: Setting) -> Course:
    """Run one."""
    return Simulation(setting).course()


def test_the_same_seed_gives_the_same_run() -> None:
    """And another seed another one."""
    setting = replace(SETTING, spread=0.5, lives_s=20.0)
    assert course(setting) == course(setting)
    assert course(setting) != course(replace(setting, seed=2))


def test_workers_share_the_work() -> None:
    """Twice as many need half as long, until the driver is what they wait for."""
    many = replace(SETTING, recordings=200_000, shard=500)
    ten, twenty = course(many), course(replace(many, workers=20))
    assert twenty.seconds == pytest.approx(ten.seconds / 2, rel=0.1)
    ideal_s = many.recordings * many.worker_s / many.workers
    assert ideal_s < ten.seconds < 1.2 * ideal_s


def test_a_slow_driver_is_busy_all_the_time() -> None:
    """A millisecond for each recording is a thousand a second, however many workers there are."""
    found = course(replace(SETTING, driver_s=1e-3, driver_shard_s=0.0, workers=50))
    assert found.seconds == pytest.approx(20.0, rel=0.15)
    assert found.driver > 0.85


def test_no_second_has_more_requests_than_the_limit() -> None:
    """On the whole: 20,000 at 500 a second take 40 seconds at least."""
    found = course(replace(SETTING, rate=500.0))
    assert 40.0 <= found.seconds < 50.0
    assert found.busy > 0.8


def test_deaths_cost_at_most_what_the_dead_had_in_hand() -> None:
    """And everything is settled in the end."""
    setting = replace(SETTING, lives_s=10.0, reborn_s=5.0)
    calm, found = course(SETTING), course(setting)
    assert found.deaths > 0
    assert 0 < found.repeated <= found.deaths * setting.at_once * setting.shard
    assert found.seconds > calm.seconds
    assert (calm.deaths, calm.repeated) == (0, 0)


def test_large_shards_have_a_long_tail_and_small_ones_a_busy_driver() -> None:
    """Which is why there is a size between."""
    setting = replace(SETTING, recordings=100_000, spread=0.3, rate=500.0)
    small, large = course(replace(setting, shard=10)), course(replace(setting, shard=2000))
    assert large.tail_s > 5 * small.tail_s
    assert small.driver * small.seconds > 2 * large.driver * large.seconds
    assert small.shards > large.shards


@pytest.mark.parametrize("recordings", [1, 99, 1001])
def test_few_recordings_are_settled_too(recordings: int) -> None:
    """Also fewer than a shard, and fewer than there are workers."""
    found = course(replace(SETTING, recordings=recordings))
    assert found.seconds > SETTING.latency_s
    assert 0 <= found.tail_s <= found.seconds
