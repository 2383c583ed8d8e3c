"""Units of measured numbers: what kind they measure, and how many of the base unit one of them is."""

from fractions import Fraction
from typing import NamedTuple


class MeasureUnit(NamedTuple):
    """A unit: what it measures, and its size in the base unit of that."""

    kind: str
    size: Fraction


_SIZES: dict[str, dict[str, str]] = {
    "length": {
        "mm millimeter millimetre": "1/1000",
        "cm centimeter centimetre": "1/100",
        "m meter metre": "1",
        "km kilometer kilometre": "1000",
        "inch inches": "254/10000",
        "ft foot feet": "3048/10000",
        "yd yard": "9144/10000",
        "mi mile": "1609344/1000",
    },
    "mass": {
        "mg milligram": "1/1000",
        "g gram": "1",
        "kg kilogram": "1000",
        "oz ounce": "28349523125/1000000000",
        "lb lbs pound": "45359237/100000",
    },
    "time": {
        "ms millisecond": "1/1000",
        "s sec second": "1",
        "min minute": "60",
        "h hr hour": "3600",
        "day": "86400",
        "week": "604800",
    },
    "volume": {"ml milliliter millilitre": "1/1000", "l liter litre": "1"},
    "area": {"mm^2": "1/1000000", "cm^2": "1/10000", "m^2": "1", "km^2": "1000000"},
    "space": {"mm^3": "1/1000000000", "cm^3": "1/1000000", "m^3": "1"},
    "speed": {"m/s": "1", "km/h kmh": "10/36"},
    "angle": {"° deg degree": "1"},
    "temperature": {"°c": "1"},
    "temperature in fahrenheit": {"°f": "1"},
}
UNITS = {
    name: MeasureUnit(kind, Fraction(size))
    for kind, sizes in _SIZES.items()
    for names, size in sizes.items()
    for name in names.split()
}


def find_unit(name: str) -> MeasureUnit | None:
    """Return a known unit, in the singular or the plural; None for any other word."""
    return UNITS.get(name) or UNITS.get(name.removesuffix("s"))
