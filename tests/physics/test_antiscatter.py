import jax
import numpy as np
import pytest

from synthex_jax.physics.antiscatter import AntiscatterGrid


def test_figures_of_merit():
    """IEC 60627's: B = 1 / total transmission, selectivity = Tp / Ts."""
    grid = AntiscatterGrid.create(primary=0.7, scatter=0.1)
    np.testing.assert_allclose(grid.selectivity, 7.0, rtol=1e-6)
    ratio = 3.0
    total = (0.7 * 1 + 0.1 * ratio) / (1 + ratio)
    np.testing.assert_allclose(grid.bucky_factor(ratio), 1 / total, rtol=1e-6)
    # Bushberg: 3 to 8 behind an abdomen, in front of which little is scattered less.
    assert 3 < AntiscatterGrid.typical().bucky_factor(4.0) < 8
    assert AntiscatterGrid.typical().bucky_factor(0.0) < 2


def test_derivatives(x64):
    factor = lambda primary, scatter: AntiscatterGrid.create(
        primary=primary, scatter=scatter
    ).bucky_factor(2.0)
    for i, slope in enumerate(jax.grad(factor, argnums=(0, 1))(0.7, 0.1)):
        step = 1e-5 * np.eye(2)[i]
        up, down = (factor(*np.add((0.7, 0.1), s * step)) for s in (1, -1))
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-3)


def test_errors():
    with pytest.raises(ValueError, match="primary must be a transmission from 0 to 1"):
        AntiscatterGrid.create(primary=70.0, scatter=0.1)
    with pytest.raises(
        ValueError, match=r"scatter must be a transmission .* got -0\.1"
    ):
        AntiscatterGrid.create(primary=0.7, scatter=-0.1)
