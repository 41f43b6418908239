"""From ``ostinato.toml`` and the environment to one frozen ``Config``, composed of the rooms' own settings.

Only this room reads the configuration file and the environment. ``OSTINATO_<SECTION>_<KEY>`` overrides a key; secrets
are given by reference and resolved here; whatever is unknown is refused with file, line, key and what is allowed.
"""

from ostinato.config.load import load, load_storage, parse
from ostinato.config.model import DECLARATIONS, Config
from ostinato.config.reading import ConfigError, located
from ostinato.config.show import shown

__all__ = ["DECLARATIONS", "Config", "ConfigError", "load", "load_storage", "located", "parse", "shown"]
