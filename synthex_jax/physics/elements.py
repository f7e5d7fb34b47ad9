"""The elements: symbols, atomic weights and densities."""

from __future__ import annotations

from typing import NamedTuple


class Element(NamedTuple):
    """One chemical element.

    Attributes:
        number: atomic number Z.
        weight: atomic weight, g/mol.
        density: g/cm^3 at room temperature and pressure.
    """

    number: int
    weight: float
    density: float


# Symbol, atomic weight, density, in the order of Z. Weights: IUPAC 2021, conventional
# values where the standard is an interval, the longest-lived isotope where there is no
# standard. Densities: NIST Standard Reference Database 126, table 1, as in xraylib;
# astatine and francium have never been weighed and carry a neighbor's or a nominal one.
_TABLE = """
H 1.008 8.4e-05, He 4.0026 0.000166, Li 6.94 0.534, Be 9.0122 1.848
B 10.81 2.37, C 12.011 2, N 14.007 0.001165, O 15.999 0.001332
F 18.9984 0.00158, Ne 20.1797 0.000839, Na 22.9898 0.971, Mg 24.305 1.74
Al 26.9815 2.6989, Si 28.085 2.33, P 30.9738 2.2, S 32.06 2
Cl 35.45 0.002995, Ar 39.95 0.001662, K 39.0983 0.862, Ca 40.078 1.55
Sc 44.9559 2.989, Ti 47.867 4.54, V 50.9415 6.11, Cr 51.9961 7.18
Mn 54.938 7.44, Fe 55.845 7.874, Co 58.9332 8.9, Ni 58.6934 8.902
Cu 63.546 8.96, Zn 65.38 7.133, Ga 69.723 5.904, Ge 72.63 5.323
As 74.9216 5.73, Se 78.971 4.5, Br 79.904 0.007072, Kr 83.798 0.003478
Rb 85.4678 1.532, Sr 87.62 2.54, Y 88.9058 4.469, Zr 91.224 6.506
Nb 92.9064 8.57, Mo 95.95 10.22, Tc 98 11.5, Ru 101.07 12.41
Rh 102.9055 12.41, Pd 106.42 12.02, Ag 107.8682 10.5, Cd 112.414 8.65
In 114.818 7.31, Sn 118.71 7.31, Sb 121.76 6.691, Te 127.6 6.24
I 126.9045 4.93, Xe 131.293 0.005485, Cs 132.9055 1.873, Ba 137.327 3.5
La 138.9055 6.154, Ce 140.116 6.657, Pr 140.9077 6.71, Nd 144.242 6.9
Pm 145 7.22, Sm 150.36 7.46, Eu 151.964 5.243, Gd 157.25 7.9004
Tb 158.9254 8.229, Dy 162.5 8.55, Ho 164.9303 8.795, Er 167.259 9.066
Tm 168.9342 9.321, Yb 173.045 6.73, Lu 174.9668 9.84, Hf 178.486 13.31
Ta 180.9479 16.654, W 183.84 19.3, Re 186.207 21.02, Os 190.23 22.57
Ir 192.217 22.42, Pt 195.084 21.45, Au 196.9666 19.32, Hg 200.592 13.546
Tl 204.38 11.72, Pb 207.2 11.35, Bi 208.9804 9.747, Po 209 9.32
At 210 9.32, Rn 222 0.009066, Fr 223 1, Ra 226 5
Ac 227 10.07, Th 232.0377 11.72, Pa 231.0359 15.37, U 238.0289 18.95
"""

ELEMENTS: dict[str, Element] = {
    symbol: Element(number, float(weight), float(density))
    for number, (symbol, weight, density) in enumerate(
        (row.split() for row in _TABLE.replace("\n", ",").split(",") if row.strip()), 1
    )
}
"""By symbol, hydrogen to uranium, in the order of Z."""
