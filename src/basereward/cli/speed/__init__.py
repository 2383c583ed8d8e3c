"""``basereward speed``: what takes how long on this machine, and how much memory."""

from basereward.cli.speed import models, services, starts
from basereward.cli.speed.options import speed

__all__ = ["models", "services", "speed", "starts"]
