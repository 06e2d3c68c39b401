from . import convert as convert
from . import events as events
from . import flat_files as flat_files
from . import lhe as lhe
from . import parquet as parquet
from . import root as root
