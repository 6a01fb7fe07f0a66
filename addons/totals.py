"""Totals: every ended turn in the log, on the pages and in the metrics."""

from __future__ import annotations

import logging

from addons.redaction import hider
from addons.services import Services
from addons.stage import Stage
from shim.exchange.values import Ended
from shim.record import summary

logger = logging.getLogger(__name__)


class Totals(Stage):
    observes = True

    def __init__(self, services: Services) -> None:
        self._services = services

    def ended(self, ended: Ended) -> None:
        services, row = self._services, ended.row
        policy = services.policies.in_force()
        hide = hider(ended.secrets, ended.decision, policy, "logged").text
        services.rows.append(row)
        services.metrics.add(row, hide)
        services.live.add(row, hide)
        if ended.intake:
            # What could not be read as a turn was logged when it was refused.
            level = logging.WARNING if row["error"] else logging.INFO
            logger.log(level, summary.told(row))
