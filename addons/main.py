"""The chain, in the order in which a turn passes it: ``mitmdump -s addons/main.py``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from addons.account import Account
from addons.catch import Catch
from addons.commands import Commands
from addons.compact import Compact
from addons.duplicates import Duplicates
from addons.exchange import Chain
from addons.failover import Failover
from addons.forward import Forward
from addons.gate import Gate
from addons.keep import Keep
from addons.memory import Memory, keep_freed
from addons.pages import Pages
from addons.picker import Picker
from addons.record import Record
from addons.route import Router
from addons.served import Serve
from addons.spend import Count, Spend
from addons.state import State
from addons.telemetry import Telemetry
from addons.translate import Translate
from addons.trim import Trim
from addons.views import Views

keep_freed()
chain = Chain()
state = State(chain)
spend = Spend(chain)
addons = [
    Commands(chain),
    Forward(chain),
    Gate(chain),
    Pages(chain),
    Picker(chain),
    Serve(chain),
    state,
    Duplicates(chain),
    Catch(chain),
    spend,
    Router(chain),
    Compact(state),
    Translate(chain),
    Failover(chain),
    Account(chain),
    Count(spend),
    Keep(chain, state),
    Record(chain),
    Telemetry(chain),
    Views(),
    Trim(chain),
    Memory(),
]
