"""What judgement is told of a configuration, with the exchange calendars that it names."""

import msgspec

from parityd.core.parameters import Parameters
from parityd.edges.calendars import earlier, has_session
from parityd.settings import Settings


def parameters_of(settings: Settings) -> Parameters:
    """The core's parameters, able to ask a calendar."""
    return msgspec.structs.replace(settings.parameters(), earlier=earlier, has_session=has_session)
