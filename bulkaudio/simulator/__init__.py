"""A PolyAI to run against: both APIs on loopback, synthetic speech, faults on demand."""

from bulkaudio.simulator.answers import Key
from bulkaudio.simulator.calls import Calls
from bulkaudio.simulator.faults import Fault, Faults
from bulkaudio.simulator.journal import Journal, What
from bulkaudio.simulator.server import Simulator

__all__ = ["Calls", "Fault", "Faults", "Journal", "Key", "Simulator", "What"]
