"""The chain, in the order in which a turn passes it: ``mitmdump -s addons/main.py``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from addons.access import Access
from addons.account import Account
from addons.commands import Commands
from addons.compaction import Compaction
from addons.duplicates import Duplicates
from addons.failover import Failover
from addons.forward import Forward
from addons.intake import Intake
from addons.memory import Memory, keep_freed
from addons.totals import Totals
from addons.pages import Pages
from addons.picker import Picker
from addons.prompt_rules import PromptRules
from addons.quotas import Quotas
from addons.record import Record
from addons.response_store import ResponseStore
from addons.route import Router
from addons.runner import Runner
from addons.server_replay import ServerReplay
from addons.services import Services
from addons.sign_in import SignIn
from addons.state import State
from addons.telemetry import Telemetry
from addons.translate import Translate
from addons.trim import Trim
from addons.views import Views

keep_freed()
services = Services()
access = Access(services)
state = State(services)
stages = [
    Commands(services),
    Forward(services),
    access,
    SignIn(services, access),
    Pages(services),
    Picker(services),
    ServerReplay(services),
    state,
    Duplicates(services),
    PromptRules(services),
    Quotas(services),
    Router(services),
    Compaction(),
    Translate(services),
    Record(services),
    Failover(services),
    Account(services),
    ResponseStore(state),
    Totals(services),
    Telemetry(services),
    Memory(),
]
addons = [Runner(services, Intake(services, access), stages, viewers=[Views(), Trim(services)])]
