"""Materials: what a body, its tools and a detector are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from synthex_jax.checks import require, require_positive
from synthex_jax.nouns import noun
from synthex_jax.physics.elements import ELEMENTS
from synthex_jax.typing import ArrayLike

_TERM = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?|\.\d+)?")


@noun
@dataclass(frozen=True)
class Material:
    """A mixture of elements.

    Attributes:
        name: what messages and legends call it.
        composition: (symbol, mass fraction) pairs; the fractions sum to 1.
        density: g/cm^3; None where it is not known, as for a bare formula, and then
            only mass attenuation is to be had.
    """

    name: str = field(metadata={"static": True})
    composition: tuple[tuple[str, float], ...] = field(metadata={"static": True})
    density: ArrayLike | None = None

    @classmethod
    def create(
        cls,
        name: str,
        mass_fractions: dict[str, float],
        density: ArrayLike | None = None,
    ) -> Material:
        """From mass fractions by element symbol, in any unit: they are normalized.

        Raises:
            ValueError: for an unknown element, a fraction or a density that is not
                positive, or no element at all.
        """
        require(
            len(mass_fractions) > 0,
            f"mass_fractions of {name!r} must name at least one element, got none",
        )
        for symbol, fraction in mass_fractions.items():
            _require_element(symbol, name)
            require_positive(f"mass_fractions[{symbol!r}] of {name!r}", fraction)
        if density is not None:
            require_positive(f"density of {name!r}", density, "(g/cm^3)")
        total = sum(mass_fractions.values())
        return cls(
            name,
            tuple((symbol, part / total) for symbol, part in mass_fractions.items()),
            density,
        )


def material(name: str | Material, *, density: ArrayLike | None = None) -> Material:
    """A material by name, element symbol or chemical formula.

    Named materials come with a density, elements with theirs, formulas without.
    Formulas are sums like ``"H2O"`` or ``"Ni0.5Ti0.5"``, without parentheses.

    Args:
        name: one of ``NAMED``, a symbol from H to U, or a formula; a Material is
            taken as it is.
        density: g/cm^3, instead of the tabulated one.

    Raises:
        ValueError: for a name that is none of these, naming what there is, or a
            density that is not positive.
    """
    if isinstance(name, Material):
        found = name
    elif name in NAMED:
        found = NAMED[name]
    elif name in ELEMENTS:
        found = Material(name, ((name, 1.0),), ELEMENTS[name].density)
    else:
        found = _from_formula(name)
    if density is None:
        return found
    require_positive(f"density of {found.name!r}", density, "(g/cm^3)")
    return Material(found.name, found.composition, density)


def iodine_contrast(iodine: float | int) -> Material:
    """Iohexol dissolved in water.

    Args:
        iodine: mg/mL of iodine; as sold, 140 to 350.

    Raises:
        ValueError: for a concentration that is not above 0 and at most 400 mg/mL.
    """
    require(
        0 < iodine <= 400,
        f"iodine must be above 0 and at most 400 mg/mL, got {iodine}; "
        "as sold, contrast agents carry 140 to 350",
    )
    density = 1 + _IOHEXOL_DENSITY_SLOPE * iodine
    iohexol = _mass_fractions("C19H26I3N3O9")
    share = 1e-3 * iodine / iohexol["I"] / density
    mixture = {symbol: share * part for symbol, part in iohexol.items()}
    for symbol, part in _mass_fractions("H2O").items():
        mixture[symbol] += (1 - share) * part
    return Material.create(f"iodine contrast, {iodine:g} mg/mL", mixture, density)


def _from_formula(formula: str) -> Material:
    require(
        bool(formula) and _TERM.sub("", formula) == "",
        f"material must be one of {', '.join(sorted(NAMED))}; an element's symbol "
        f"such as 'Ti'; or a formula such as 'Gd2O2S', got {formula!r}",
    )
    return Material.create(formula, _mass_fractions(formula))


def _mass_fractions(formula: str) -> dict[str, float]:
    """Atoms of each element times its atomic weight, normalized."""
    masses: dict[str, float] = {}
    for symbol, count in _TERM.findall(formula):
        _require_element(symbol, formula)
        atoms = float(count) if count else 1.0
        require(
            atoms > 0,
            f"formula {formula!r} must count atoms above zero, got {atoms:g} {symbol}",
        )
        masses[symbol] = masses.get(symbol, 0.0) + atoms * ELEMENTS[symbol].weight
    total = sum(masses.values())
    return {symbol: mass / total for symbol, mass in masses.items()}


def _require_element(symbol: str, where: str) -> None:
    require(
        symbol in ELEMENTS,
        f"material {where!r} must consist of elements from H (1) to U (92), got "
        f"{symbol!r}; symbols are written like 'Ti'",
    )


# Specific gravity at 37 C of iohexol solutions of 140, 180, 240, 300 and 350 mg/mL:
# 1.164, 1.209, 1.280, 1.349, 1.406 (prescribing information of Omnipaque), a line
# through 1 within 0.002.
_IOHEXOL_DENSITY_SLOPE = 1.163e-3

# Percent by mass and g/cm^3. Tissues: ICRU Report 44 (1989), as in NIST Standard
# Reference Database 126, table 2; spongy bone: ICRU Report 46 (1992), "skeleton,
# spongiosa". Lung is inflated, with its air: 0.26 g/cm^3 (ICRU 44).
_TISSUES: dict[str, tuple[dict[str, float], float]] = {
    "air": ({"C": 0.0124, "N": 75.5268, "O": 23.1781, "Ar": 1.2827}, 1.205e-3),
    "water": ({"H": 11.1898, "O": 88.8102}, 1.0),
    "soft tissue": (
        {"H": 10.2, "C": 14.3, "N": 3.4, "O": 70.8, "Na": 0.2, "P": 0.3, "S": 0.3}
        | {"Cl": 0.2, "K": 0.3},
        1.06,
    ),
    "adipose": (
        {"H": 11.4, "C": 59.8, "N": 0.7, "O": 27.8, "Na": 0.1, "S": 0.1, "Cl": 0.1},
        0.95,
    ),
    "muscle": (
        {"H": 10.2, "C": 14.3, "N": 3.4, "O": 71.0, "Na": 0.1, "P": 0.2, "S": 0.3}
        | {"Cl": 0.1, "K": 0.4},
        1.05,
    ),
    "lung": (
        {"H": 10.3, "C": 10.5, "N": 3.1, "O": 74.9, "Na": 0.2, "P": 0.2, "S": 0.3}
        | {"Cl": 0.3, "K": 0.2},
        0.26,
    ),
    "blood": (
        {"H": 10.2, "C": 11.0, "N": 3.3, "O": 74.5, "Na": 0.1, "P": 0.1, "S": 0.2}
        | {"Cl": 0.3, "K": 0.2, "Fe": 0.1},
        1.06,
    ),
    "cortical bone": (
        {"H": 3.4, "C": 15.5, "N": 4.2, "O": 43.5, "Na": 0.1, "Mg": 0.2, "P": 10.3}
        | {"S": 0.3, "Ca": 22.5},
        1.92,
    ),
    "spongy bone": (
        {"H": 8.5, "C": 40.4, "N": 2.8, "O": 36.7, "Na": 0.1, "Mg": 0.1, "P": 3.4}
        | {"S": 0.2, "Cl": 0.2, "K": 0.1, "Ca": 7.4, "Fe": 0.1},
        1.18,
    ),
}

# Middles of the ranges that the standards allow: stainless steel ASTM F138 (316LVM),
# nitinol ASTM F2063, cobalt-chrome ASTM F75, titanium alloy ASTM F136 (Ti-6Al-4V);
# densities from the same materials' data sheets.
_ALLOYS: dict[str, tuple[dict[str, float], float]] = {
    "stainless steel": (
        {"Fe": 63.4, "Cr": 18.0, "Ni": 14.0, "Mo": 2.6, "Mn": 2.0},
        7.95,
    ),
    "nitinol": ({"Ni": 55.8, "Ti": 44.2}, 6.45),
    "cobalt-chrome": ({"Co": 65.5, "Cr": 28.5, "Mo": 6.0}, 8.3),
    "titanium alloy": ({"Ti": 90.0, "Al": 6.0, "V": 4.0}, 4.43),
}

# Formula and g/cm^3: elements and scintillators from NIST Standard Reference Database
# 126, tables 1 and 2 (titanium: CRC Handbook of Chemistry and Physics), PMMA likewise,
# PEEK from the maker's data sheet (unfilled).
_FORMULAS: dict[str, tuple[str, float]] = {
    "aluminum": ("Al", 2.699),
    "titanium": ("Ti", 4.506),
    "copper": ("Cu", 8.96),
    "lead": ("Pb", 11.35),
    "PMMA": ("C5H8O2", 1.19),
    "PEEK": ("C19H12O3", 1.30),
    "CsI": ("CsI", 4.51),
    "Gd2O2S": ("Gd2O2S", 7.44),
}

NAMED: dict[str, Material] = {
    **{
        name: Material.create(name, fractions, density)
        for name, (fractions, density) in (_TISSUES | _ALLOYS).items()
    },
    **{
        name: Material.create(name, _mass_fractions(formula), density)
        for name, (formula, density) in _FORMULAS.items()
    },
    "iodine contrast": iodine_contrast(350.0),
}
"""Materials with a name, each with its density."""
