import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synthex_jax.physics.lag import Lag, lagged


def test_the_response_to_a_flash_is_the_formula():
    lag = Lag.create([0.05, 0.02], [0.3, 0.9])
    flash = jnp.zeros((12, 2, 3)).at[0].set(100.0)
    n = np.arange(1, 12)
    shares, decays = np.array([[0.05], [0.02]]), np.array([[0.3], [0.9]])
    late = np.sum(shares * (1 - decays) * decays ** (n - 1), axis=0)
    expected = 100 * np.concatenate([[1 - 0.07], late])
    found = lagged(flash, lag)
    np.testing.assert_allclose(found[:, 1, 2], expected, rtol=1e-5)


def test_charge_is_late_but_not_lost():
    lag = Lag.create([0.05, 0.02], [0.3, 0.9])
    flash = jnp.zeros((200, 1, 1)).at[0].set(100.0)
    np.testing.assert_allclose(jnp.sum(lagged(flash, lag)), 100.0, rtol=1e-5)
    steady = lagged(jnp.full((200, 1, 1), 7.0), lag)
    np.testing.assert_allclose(steady[-1], 7.0, rtol=1e-5)
    assert steady[0] < 6.6


def test_a_typical_panel():
    """Starman's exponentials: amplitudes at the frames after a flash."""
    flash = jnp.zeros((40, 1, 1)).at[0].set(1.0)
    found = lagged(flash, Lag.typical())[:, 0, 0]
    rates = np.array([0.7055, 0.1141, 0.0212, 0.0033])
    amplitudes = np.array([2.911e-3, 0.4454e-3, 0.0748e-3, 0.0042e-3])
    n = np.arange(1, 40)[:, None]
    expected = np.sum(amplitudes * np.exp(-rates * n), axis=1)
    np.testing.assert_allclose(found[1:], expected, rtol=1e-4)
    np.testing.assert_allclose(Lag.typical().shares.sum(), 0.011, atol=5e-4)


def test_derivatives_and_batches(x64):
    frames = jax.random.uniform(jax.random.key(0), (6, 3, 4))
    weights = jax.random.normal(jax.random.key(1), (6, 3, 4))
    total = lambda share, decay, scale: jnp.sum(
        weights * lagged(scale * frames, Lag.create([share, 0.01], [decay, 0.9]))
    )
    point = (0.05, 0.4, 1.3)
    for i, slope in enumerate(jax.grad(total, argnums=(0, 1, 2))(*point)):
        step = 1e-5 * np.eye(3)[i]
        up, down = (total(*np.add(point, s * step)) for s in (1, -1))
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-3)
    batch = jax.vmap(lagged, in_axes=(0, None))(frames[None], Lag.typical())
    np.testing.assert_allclose(batch[0], lagged(frames, Lag.typical()), rtol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(1,\)"):
        Lag.create([0.1, 0.1], [0.5])
    with pytest.raises(ValueError, match="shares must not be negative nor sum to more"):
        Lag.create([0.9, 0.2], [0.5, 0.6])
    with pytest.raises(ValueError, match="decays must be at least 0 and below 1 a fra"):
        Lag.create([0.1], [1.0])
