"""All probes of an audit by name."""

from basereward.evaluation.audit import attacks, blindness, numerics, pictures, wordings
from basereward.evaluation.audit.calibration import calibration
from basereward.evaluation.audit.probe import PROBE_KINDS, Probe, needs_numbers, needs_verdicts
from basereward.evaluation.audit.properties import agreement_of_orders, length_gap
from basereward.registry import Registry

_PROPERTIES = (
    Probe(
        "judge_order",
        "properties",
        "On how many pairs does it say the same in both orders?",
        agreement_of_orders,
        unsuited=needs_verdicts,
    ),
    Probe(
        "length_gap",
        "properties",
        "How far is accuracy apart where the better response is longer and where it is shorter?",
        length_gap,
    ),
    Probe(
        "calibration",
        "properties",
        "How far are the probabilities that margins state from how often they are right?",
        calibration,
        unsuited=needs_numbers,
    ),
)

PROBES: Registry[Probe] = Registry(
    "probe",
    {
        probe.name: probe
        for own in (blindness.PROBES, numerics.PROBES, wordings.PROBES, pictures.PROBES, attacks.PROBES, _PROPERTIES)
        for probe in own
    },
)


def choose_probes(names: tuple[str, ...] = ()) -> list[Probe]:
    """Return the named probes, all by default, kind by kind.

    Raises:
        UnknownNameError: no such probe.
    """
    chosen = [PROBES.get(name) for name in dict.fromkeys(names or PROBES.names())]
    return sorted(chosen, key=lambda probe: PROBE_KINDS.index(probe.kind))
